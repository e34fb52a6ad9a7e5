use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    leases::Leases,
    link::{self, PodLink, link_name, link_prefix},
    netns::{failed, inside, sysctl},
    nft,
    range::Range,
    ruleset::{render, table_name},
};

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

impl PortMapping {
    /// Whether both cannot be published at once.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        let apart = matches!((self.host_ip, other.host_ip), (Some(a), Some(b)) if a != b);
        self.protocol == other.protocol && self.host_port == other.host_port && !apart
    }
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
    #[error("{0:?} is no pod uid")]
    Uid(String),
    #[error("host port {port}/{protocol:?} is taken by pod {holder}")]
    PortTaken { port: u16, protocol: Protocol, holder: String },
}

/// The pod network of one node. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    leases: Mutex<Leases>,
    /// One change at a time, so that the table in the kernel is that of the newest leases.
    changing: tokio::sync::Mutex<()>,
}

impl Network {
    /// Prepares the node (forwarding, masquerade); idempotent.
    pub async fn setup(config: Config) -> Result<Self, Error> {
        let leases = Mutex::new(Leases::load(&config.state_dir, config.pod_range)?);
        let network = Self { shared: Arc::new(Shared { config, leases, changing: tokio::sync::Mutex::new(()) }) };
        network.apply(true).await?;
        Ok(network)
    }

    /// Connects a pod's network namespace, or heals it; the same uid keeps its address.
    pub async fn attach(&self, uid: &str, netns: &Path, ports: &[PortMapping]) -> Result<Ipv4Addr, Error> {
        let _changing = self.shared.changing.lock().await;
        let config = &self.shared.config;
        let (address, publishes) = {
            let mut leases = self.leases();
            let had = leases.get(uid).map(|lease| lease.ports.clone()).unwrap_or_default();
            (leases.take(uid, ports)?, had != ports)
        };
        let link = PodLink {
            name: link_name(&config.node, uid),
            uid: uid.to_owned(),
            address,
            gateway: config.pod_range.gateway(),
            mtu: config.mtu,
        };
        let netns = netns.to_owned();
        inside(config.netns.as_deref(), |node| async move { link::connect(&node, &link, &netns).await }).await?;
        if publishes {
            self.apply(false).await?;
        }
        Ok(address)
    }

    /// The address that a pod holds.
    pub fn address(&self, uid: &str) -> Option<Ipv4Addr> {
        self.leases().get(uid).map(|lease| lease.address)
    }

    /// Removes a pod's link, routes and rules and frees its address; Ok where nothing is left of it.
    pub async fn detach(&self, uid: &str) -> Result<(), Error> {
        let _changing = self.shared.changing.lock().await;
        let config = &self.shared.config;
        let doomed = link_name(&config.node, uid);
        let prefix = link_prefix(&config.node);
        inside(config.netns.as_deref(), |node| async move { link::sweep(&node, &prefix, |name| name != doomed).await })
            .await?;
        let published = self.leases().get(uid).is_some_and(|lease| !lease.ports.is_empty());
        self.leases().retain(|held| held != uid)?;
        if published { self.apply(false).await } else { Ok(()) }
    }

    /// Makes the node's state that of these pods: heals theirs, removes what belongs to others.
    /// Answers with what failed, by pod uid.
    pub async fn reconcile(&self, pods: &[PodNetwork]) -> Result<Vec<(String, Error)>, Error> {
        let config = &self.shared.config;
        {
            let _changing = self.shared.changing.lock().await;
            self.leases().retain(|uid| pods.iter().any(|pod| pod.uid == uid))?;
            let names: Vec<String> = pods.iter().map(|pod| link_name(&config.node, &pod.uid)).collect();
            let prefix = link_prefix(&config.node);
            let keep = move |name: &str| names.iter().any(|kept| kept == name);
            inside(config.netns.as_deref(), |node| async move { link::sweep(&node, &prefix, keep).await }).await?;
            self.apply(true).await?;
        }
        let mut failed = Vec::new();
        for pod in pods {
            if let Err(error) = self.attach(&pod.uid, &pod.netns, &pod.ports).await {
                failed.push((pod.uid.clone(), error));
            }
        }
        Ok(failed)
    }

    /// Removes every link, rule and route of the node, and its written addresses. Needs no running agent.
    pub async fn teardown(config: &Config) -> Result<(), Error> {
        let (prefix, table) = (link_prefix(&config.node), table_name(&config.node));
        let done = inside(config.netns.as_deref(), |node| async move {
            // Each is tried, whatever became of the other.
            let links = link::sweep(&node, &prefix, |_| false).await;
            nft::remove(&table).map_err(failed(format!("remove the table {table}")))?;
            links
        });
        let done = done.await;
        Leases::erase(&config.state_dir)?;
        done.map(drop)
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.shared.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn apply(&self, forwarding: bool) -> Result<(), Error> {
        let config = &self.shared.config;
        let ruleset = {
            let leases = self.leases();
            let published: Vec<_> = leases.iter().map(|(_, lease)| (lease.address, lease.ports.as_slice())).collect();
            render(config, &published)
        };
        inside(config.netns.as_deref(), move |_| async move {
            if forwarding {
                sysctl("ipv4/ip_forward", "1")?;
            }
            nft::apply(&ruleset).map_err(failed(format!("apply the table {}", ruleset.table)))
        })
        .await
    }
}
