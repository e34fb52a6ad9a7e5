use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use crate::range::Range;

/// What one node's pod network is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses of this node's pods, such as 10.42.3.0/24.
    pub pod_range: Range,
    /// The addresses of all pods of the cluster: traffic to them keeps its source.
    pub cluster_range: Range,
    /// The first 8 hex digits of the node's key: part of the names of links and tables.
    pub node: String,
    /// Where the addresses given out are written down (a folder, made if absent).
    pub state_dir: PathBuf,
    /// MTU of the pods' links; absent: that of the link with the default route, else 1500.
    pub mtu: Option<u32>,
    /// The network namespace to work in; absent: the process's own.
    pub netns: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A container's port published on the node (hostPort, hostIP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    pub protocol: Protocol,
    /// Absent: every address of the node.
    pub host_ip: Option<Ipv4Addr>,
    pub host_port: u16,
    pub container_port: u16,
}

/// A pod that is to be connected, as [`Network::reconcile`] takes it.
#[derive(Clone, Debug)]
pub struct PodNetwork {
    pub uid: String,
    /// The file that the pod's network namespace is bind-mounted on.
    pub netns: PathBuf,
    pub ports: Vec<PortMapping>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error("no free address is left in {0}")]
    NoAddress(Range),
    #[error("host port {port}/{protocol:?} is taken by pod {holder}")]
    PortTaken { port: u16, protocol: Protocol, holder: String },
}

/// The pod network of one node. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    config: Config,
}

impl Network {
    /// Prepares the node (forwarding, masquerade); idempotent.
    pub async fn setup(config: Config) -> Result<Self, Error> {
        Ok(Self { config })
    }

    /// Connects a pod's network namespace, or heals it; the same uid keeps its address.
    pub async fn attach(&self, _uid: &str, _netns: &Path, _ports: &[PortMapping]) -> Result<Ipv4Addr, Error> {
        Err(Error::NoAddress(self.config.pod_range))
    }

    /// The address that a pod holds.
    pub fn address(&self, _uid: &str) -> Option<Ipv4Addr> {
        None
    }

    /// Removes a pod's link, routes and rules and frees its address; Ok where nothing is left of it.
    pub async fn detach(&self, _uid: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Makes the node's state that of these pods: heals theirs, removes what belongs to others.
    /// Answers with what failed, by pod uid.
    pub async fn reconcile(&self, _pods: &[PodNetwork]) -> Result<Vec<(String, Error)>, Error> {
        Ok(Vec::new())
    }

    /// Removes every link, rule and route of the node, and its written addresses. Needs no running agent.
    pub async fn teardown(_config: &Config) -> Result<(), Error> {
        Ok(())
    }
}
