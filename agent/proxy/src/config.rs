use std::{net::Ipv4Addr, path::PathBuf};

use control_api::Ipv4Range;

/// What a node's proxy has to know. NodePorts need no list of addresses: the kernel knows which are the node's own.
#[derive(Clone, Debug)]
pub struct Config {
    /// The first 8 hex digits of the node's key: part of the table's name.
    pub node: String,
    /// The node's name, as endpoints give it.
    pub node_name: String,
    /// The addresses of all pods of the cluster: what comes from them keeps its source.
    pub cluster_range: Ipv4Range,
    /// Where ClusterIPs come from: what is sent to an unknown one of them is refused.
    pub service_range: Ipv4Range,
    /// ClusterIPs that are addresses of this node (the DNS): never translated.
    pub local_services: Vec<Ipv4Addr>,
    /// The network namespace to work in; absent: the process's own.
    pub netns: Option<PathBuf>,
}

impl Config {
    pub(crate) fn table(&self) -> String {
        format!("bramble-{}-services", self.node)
    }

    /// Stands in while the table is replaced.
    pub(crate) fn stand_in(&self) -> String {
        format!("bramble-{}-stand-in", self.node)
    }
}
