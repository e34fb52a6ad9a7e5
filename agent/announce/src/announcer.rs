//! The task that joins model, election, heartbeats and ARP.
//!
//! ```text
//! no address: asleep -> first address: listen for SILENT_AFTER -> a beat each BEAT: hear, elect, announce
//! ```

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control_api::view::core::Service;
use control_api::view::discovery::EndpointSlice;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::model::Model;
use crate::term::Term;

/// Between two heartbeats.
pub(crate) const BEAT: Duration = Duration::from_millis(500);
/// A node not heard for so long serves nothing: with the beat in which it is noticed, an address moves within 2.5 s.
pub(crate) const SILENT_AFTER: Duration = Duration::from_millis(1800);
/// An address that moved is told again in this many beats: a single frame may be lost.
pub(crate) const REPEATS: u8 = 3;
/// Until what failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Config {
    pub node_name: String,
    /// What every node of the cluster knows and nobody else.
    pub secret: [u8; 32],
    /// UDP port of heartbeats, the same on every node.
    pub port: u16,
}

/// A node of the cluster, as far as announcing goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    pub name: String,
    pub addresses: Vec<Ipv4Addr>,
    /// `node.kubernetes.io/exclude-from-external-load-balancers`.
    pub excluded: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen for other nodes on udp port {port}")]
    Listen { port: u16, source: io::Error },
    #[error("cannot list the node's links")]
    Links(#[source] io::Error),
}

#[derive(Default)]
pub(crate) struct Told {
    pub model: Model,
    pub nodes: Vec<NodeInfo>,
}

#[derive(Default)]
pub(crate) struct Shared {
    told: Mutex<Told>,
    pub changed: Notify,
    announced: Mutex<BTreeSet<Ipv4Addr>>,
}

impl Shared {
    pub fn set_announced(&self, addresses: BTreeSet<Ipv4Addr>) {
        *self.announced.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Announces until it is dropped.
pub struct Announcer {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Announcer {
    pub fn start(config: Config) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(run(config, shared.clone()));
        Self { shared, task }
    }

    fn change(&self, change: impl FnOnce(&mut Told) -> bool) {
        if change(&mut self.shared.told()) {
            self.shared.changed.notify_one();
        }
    }

    pub fn put_service(&self, service: &Service) {
        self.change(|told| told.model.put_service(service));
    }

    pub fn remove_service(&self, namespace: &str, name: &str) {
        self.change(|told| told.model.remove_service(namespace, name));
    }

    pub fn put_slice(&self, slice: &EndpointSlice) {
        self.change(|told| {
            told.model.put_slice(slice);
            !told.model.is_empty()
        });
    }

    pub fn remove_slice(&self, namespace: &str, name: &str) {
        self.change(|told| {
            told.model.remove_slice(namespace, name);
            !told.model.is_empty()
        });
    }

    /// Every node of the cluster, this one too.
    pub fn set_nodes(&self, nodes: Vec<NodeInfo>) {
        self.change(|told| {
            let changed = told.nodes != nodes;
            told.nodes = nodes;
            changed && !told.model.is_empty()
        });
    }

    /// The node's own addresses changed: links are looked at again.
    pub fn addresses_changed(&self) {
        self.shared.changed.notify_one();
    }

    /// What this node announces now.
    pub fn announced(&self) -> BTreeSet<Ipv4Addr> {
        self.shared.announced.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asleep while there is nothing to announce; an error is told, and tried again after a pause.
async fn run(config: Config, shared: Arc<Shared>) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let session = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    let mut sequence = 0;
    loop {
        while shared.told().model.is_empty() {
            shared.changed.notified().await;
        }
        let ended = match Term::start(&config, shared.clone(), session).await {
            Ok(mut term) => term.run(&mut sequence).await,
            Err(error) => Err(error),
        };
        shared.set_announced(BTreeSet::new());
        if let Err(error) = ended {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(%error, source, "load balancer addresses are not announced by this node");
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}
