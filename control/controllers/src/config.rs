//! What the controllers need to know beside the store.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::certificate::Signer;
use crate::load_balancer::Pool;
use crate::steps::StepsFile;

/// Given by the server's start.
#[derive(Debug)]
pub struct Config {
    /// The cluster's CA certificate, PEM: published as ConfigMap `kube-root-ca.crt` in every namespace.
    pub ca_pem: String,
    /// Where the API is served, as pods and nodes reach it: the endpoints of Service `kubernetes`. A change is followed
    /// at once; an empty list changes nothing.
    pub addresses: watch::Receiver<Vec<IpAddr>>,
    pub port: u16,
    /// Signs approved certificate requests; without it they stay as they are.
    pub signer: Option<Arc<dyn Signer>>,
    /// Addresses for load balancers; none where an external cloud controller gives them.
    pub load_balancers: Option<Pool>,
    /// Where it is kept how the machine's clock was set; without it a server's end forgets it.
    pub steps_file: Option<StepsFile>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ca_pem: String::new(),
            addresses: watch::channel(Vec::new()).1,
            port: 6443,
            signer: None,
            load_balancers: Some(Pool::default()),
            steps_file: None,
        }
    }
}
