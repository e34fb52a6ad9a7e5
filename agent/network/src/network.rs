use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agent_nft::{Batch, Socket};

use control_api::Ipv4Range;

use crate::{
    fingerprint,
    leases::Leases,
    link::{self, PodLink, link_name, link_prefix},
    mend,
    netns::{failed, inside, sysctl},
    pod_range,
    policing::Policing,
    policy::{self, Identity},
    ruleset::{render, table_name},
    upkeep::Upkeep,
};

/// The usual network identifier of the link between nodes.
pub const VXLAN_ID: u32 = 66;
/// The port that is registered for VXLAN.
pub const VXLAN_PORT: u16 = 4789;

/// What one node's pod network is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses of this node's pods, such as 10.42.3.0/24.
    pub pod_range: Ipv4Range,
    /// The addresses of all pods of the cluster: traffic to them keeps its source.
    pub cluster_range: Ipv4Range,
    /// The addresses of Services.
    pub service_range: Ipv4Range,
    /// Of the link to nodes on other networks; the same on all nodes.
    pub vxlan_id: u32,
    /// The UDP port of the same, on the nodes' addresses.
    pub vxlan_port: u16,
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

/// A pod that is to be connected.
#[derive(Clone, Debug)]
pub struct PodNetwork {
    pub uid: String,
    /// What policies know it by.
    pub identity: Identity,
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
    #[error("cannot change the table {table}")]
    Table {
        table: String,
        #[source]
        source: agent_nft::Error,
    },
    #[error("cannot ask the kernel what rules it knows")]
    Rules(#[source] agent_nft::Error),
    #[error(
        "the running kernel has no {}: see what `modprobe {}` says; after an upgrade of the kernel, restart the machine",
        .0.join(", "), .0.first().unwrap_or(&"")
    )]
    Modules(Vec<&'static str>),
    #[error("no free address is left in {0}")]
    NoAddress(Ipv4Range),
    #[error("{0:?} is no pod uid")]
    Uid(String),
    #[error("host port {port}/{protocol:?} is taken by pod {holder}")]
    PortTaken { port: u16, protocol: Protocol, holder: String },
    #[error("{count} {what} are more than the {max} that a node takes")]
    TooMany { what: &'static str, count: usize, max: usize },
    #[error(
        "the cluster's {what} {range} overlaps with the network {prefix} of link {link}: give the cluster another one"
    )]
    Overlap { what: &'static str, range: Ipv4Range, prefix: Ipv4Range, link: String },
}

/// The pod network of one node. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub config: Config,
    pub leases: Mutex<Leases>,
    /// One change at a time, so that the table in the kernel is that of the newest leases.
    pub changing: tokio::sync::Mutex<()>,
    pub upkeep: Upkeep,
    pub policing: Policing,
}

impl Network {
    /// Prepares the node (forwarding, masquerade) and keeps it so while the value lives; idempotent.
    pub async fn setup(config: Config) -> Result<Self, Error> {
        let leases = Mutex::new(Leases::load(&config.state_dir, config.pod_range)?);
        let upkeep = Upkeep::new(&config);
        let changing = tokio::sync::Mutex::new(());
        let shared = Shared { config, leases, changing, upkeep, policing: Policing::default() };
        let network = Self { shared: Arc::new(shared) };
        network.begin().await?;
        Ok(network)
    }

    /// Connects a pod's network namespace, or heals it; the same uid keeps its address. Policies hold before
    /// its first packet.
    pub async fn attach(&self, pod: &PodNetwork) -> Result<Ipv4Addr, Error> {
        let _changing = self.shared.changing.lock().await;
        let uid = &pod.uid;
        let (address, publishes) = {
            let mut leases = self.leases();
            let had = leases.get(uid).map(|lease| lease.ports.clone()).unwrap_or_default();
            (leases.take(uid, &pod.ports)?, had != pod.ports)
        };
        self.shared.policing.attached(uid, &pod.identity);
        self.enforce().await?;
        self.connect(uid, address, &pod.netns).await?;
        self.shared.upkeep.attached(uid, &pod.netns);
        if publishes {
            self.apply(false).await?;
        }
        Ok(address)
    }

    /// Makes or mends the pod's link.
    pub(crate) async fn connect(&self, uid: &str, address: Ipv4Addr, netns: &Path) -> Result<(), Error> {
        let config = &self.shared.config;
        let link = PodLink {
            name: link_name(&config.node, uid),
            uid: uid.to_owned(),
            address,
            gateway: pod_range::gateway(config.pod_range),
            mtu: self.shared.upkeep.pod_mtu(),
        };
        let netns = netns.to_owned();
        inside(config.netns.as_deref(), |node| async move { link::connect(&node, &link, &netns).await }).await
    }

    /// The address that a pod holds.
    pub fn address(&self, uid: &str) -> Option<Ipv4Addr> {
        self.leases().get(uid).map(|lease| lease.address)
    }

    /// Removes a pod's link, routes and rules and frees its address; Ok where nothing is left of it.
    pub async fn detach(&self, uid: &str) -> Result<(), Error> {
        let _changing = self.shared.changing.lock().await;
        let config = &self.shared.config;
        self.shared.upkeep.detached(|held| held == uid);
        let doomed = link_name(&config.node, uid);
        let prefix = link_prefix(&config.node);
        inside(config.netns.as_deref(), |node| async move { link::sweep(&node, &prefix, |name| name != doomed).await })
            .await?;
        let published = self.leases().get(uid).is_some_and(|lease| !lease.ports.is_empty());
        self.shared.policing.detached(|held| held == uid);
        self.leases().retain(|held| held != uid)?;
        // Before the address is given to another pod.
        self.enforce().await?;
        if published { self.apply(false).await } else { Ok(()) }
    }

    /// Makes the node's state that of these pods: heals theirs, removes what belongs to others.
    /// Answers with what failed, by pod uid.
    pub async fn reconcile(&self, pods: &[PodNetwork]) -> Result<Vec<(String, Error)>, Error> {
        let config = &self.shared.config;
        {
            let _changing = self.shared.changing.lock().await;
            let gone = |uid: &str| pods.iter().all(|pod| pod.uid != uid);
            self.shared.upkeep.detached(gone);
            self.shared.policing.detached(gone);
            self.leases().retain(|uid| pods.iter().any(|pod| pod.uid == uid))?;
            let names: Vec<String> = pods.iter().map(|pod| link_name(&config.node, &pod.uid)).collect();
            let prefix = link_prefix(&config.node);
            let keep = move |name: &str| names.iter().any(|kept| kept == name);
            inside(config.netns.as_deref(), |node| async move { link::sweep(&node, &prefix, keep).await }).await?;
            self.apply(true).await?;
            self.enforce().await?;
        }
        let mut failed = Vec::new();
        for pod in pods {
            if let Err(error) = self.attach(pod).await {
                failed.push((pod.uid.clone(), error));
            }
        }
        Ok(failed)
    }

    /// Removes every link, rule and route of the node, and its written addresses. Needs no running agent.
    pub async fn teardown(config: &Config) -> Result<(), Error> {
        let (prefix, table, own) = (link_prefix(&config.node), table_name(&config.node), config.clone());
        let done = inside(config.netns.as_deref(), |node| async move {
            // Each is tried, whatever became of the others.
            let links = link::sweep(&node, &prefix, |_| false).await;
            let routes = mend::remove_all(&node, &own).await;
            let policies = policy::table_name(&own.node);
            send(&policies, Batch::remove(&policies))?;
            send(&table, Batch::remove(&table))?;
            routes.and(links)
        });
        let done = done.await;
        Leases::erase(&config.state_dir)?;
        done.map(drop)
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.shared.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn apply(&self, forwarding: bool) -> Result<(), Error> {
        let config = &self.shared.config;
        let ruleset = {
            let leases = self.leases();
            let published: Vec<_> = leases.iter().map(|(_, lease)| (lease.address, lease.ports.as_slice())).collect();
            render(config, &published, self.shared.upkeep.nodes().as_ref())
        };
        let print = inside(config.netns.as_deref(), move |_| async move {
            if forwarding {
                sysctl("ipv4/ip_forward", "1")?;
            }
            send(&ruleset.table, Batch::replace(&ruleset))?;
            fingerprint::take(&ruleset.table).map_err(failed(format!("read the table {}", ruleset.table)))
        });
        self.shared.upkeep.applied(print.await?);
        Ok(())
    }
}

/// In the network namespace that this thread is in.
pub(crate) fn send(table: &str, batch: Batch) -> Result<(), Error> {
    let sent = Socket::open().and_then(|mut socket| socket.apply(batch));
    sent.map_err(|source| Error::Table { table: table.to_owned(), source })
}
