//! What the node's DNS is told at its start.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use control_api::Ipv4Range;

/// Given by the agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// Each is served by UDP and TCP. An address that the machine does not have yet is no error.
    pub listen: Vec<SocketAddr>,
    /// `cluster.local`.
    pub domain: String,
    /// Addresses of Services and of pods: their reverse names are ours, whether they exist or not.
    pub service_range: Ipv4Range,
    pub pod_range: Ipv4Range,
    /// Names the upstreams; read again when it changed.
    pub resolv_conf: PathBuf,
    /// Addresses never asked, beside those in `listen`: the cluster's own DNS address.
    pub own: Vec<IpAddr>,
}

impl Default for Config {
    fn default() -> Self {
        let address = IpAddr::from([10, 43, 0, 10]);
        Self {
            listen: vec![SocketAddr::from((address, 53))],
            domain: "cluster.local".to_owned(),
            service_range: Ipv4Range::new(Ipv4Addr::new(10, 43, 0, 0), 16),
            pod_range: Ipv4Range::new(Ipv4Addr::new(10, 42, 0, 0), 16),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            own: vec![address],
        }
    }
}

/// Why the DNS did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{domain} is not a domain name")]
    Domain { domain: String },
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}
