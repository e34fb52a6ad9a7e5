//! The DNS of a node as the agent holds it.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLockWriteGuard};

use control_api::view::core::Service;
use control_api::view::discovery::EndpointSlice;
use tokio::task::JoinSet;

use crate::config::{Config, Error};
use crate::forward::Forwarder;
use crate::metrics::{Counters, Metrics};
use crate::resolv_conf::ResolvConf;
use crate::respond::Responder;
use crate::server;
use crate::zone::Zone;

/// Ends its tasks when dropped.
#[derive(Debug)]
pub struct Dns {
    responder: Arc<Responder>,
    addresses: Vec<SocketAddr>,
    _tasks: JoinSet<()>,
}

impl Dns {
    /// Listens, and answers from then on; called inside the agent's runtime.
    pub fn start(config: Config) -> Result<Self, Error> {
        let zone = Zone::new(&config)?;
        let counters = Arc::new(Counters::default());
        let resolv_conf = ResolvConf::new(config.resolv_conf, config.own, config.listen.clone());
        let forwarder = Arc::new(Forwarder::new(resolv_conf, counters.clone()));
        let responder = Arc::new(Responder::new(zone, forwarder, counters));
        let (mut tasks, mut addresses) = (JoinSet::new(), Vec::new());
        for address in config.listen {
            let failed = |source| Error::Listen { address, source };
            let (udp, tcp) = server::open(address)?;
            addresses.push(udp.local_addr().map_err(failed)?);
            let udp = tokio::net::UdpSocket::from_std(udp).map_err(failed)?;
            let tcp = tokio::net::TcpListener::from_std(tcp).map_err(failed)?;
            tasks.spawn(server::serve_udp(responder.clone(), udp));
            tasks.spawn(server::serve_tcp(responder.clone(), tcp));
        }
        Ok(Self { responder, addresses, _tasks: tasks })
    }

    /// Where it listens, ports that were 0 filled in.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn metrics(&self) -> Metrics {
        self.responder.counters.snapshot()
    }

    /// A namespace's name exists though it has no Service.
    pub fn put_namespace(&self, name: &str) {
        self.zone().put_namespace(name);
    }

    pub fn remove_namespace(&self, name: &str) {
        self.zone().remove_namespace(name);
    }

    pub fn put_service(&self, service: &Service) {
        self.zone().put_service(service);
    }

    pub fn remove_service(&self, namespace: &str, name: &str) {
        self.zone().remove_service(namespace, name);
    }

    pub fn put_slice(&self, slice: &EndpointSlice) {
        self.zone().put_slice(slice);
    }

    pub fn remove_slice(&self, namespace: &str, name: &str) {
        self.zone().remove_slice(namespace, name);
    }

    /// Changes are in effect when their call returns: there is nothing to wait for.
    pub async fn settled(&self) {}

    fn zone(&self) -> RwLockWriteGuard<'_, Zone> {
        self.responder.zone.write().unwrap_or_else(PoisonError::into_inner)
    }
}
