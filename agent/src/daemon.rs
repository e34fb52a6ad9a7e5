//! The agent itself: its parts in the order in which they start, and what ends it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_network::Network;
use agent_oci::Images;
use agent_pods::etc::ClusterDns;
use agent_pods::node::{Machine, NodeImage};
use agent_pods::ports::{Found, Ports};
use agent_pods::pressure::Pressure;
use agent_pods::record::Records;
use agent_pods::worker::Settings;
use agent_pods::{Fleet, ports::Clock};
use agent_proxy::Proxy;
use agent_runtime::{Runtime, SandboxStatus, UserNamespaces};
use agent_volumes::Volumes;
use anyhow::{Context, Result, bail};
use control_wire::{Hello, Identity, Link, NodeKey, PROTOCOL, durable, supervisor};
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast;

use crate::adapters::{PodImages, PodNetworks, PodRuntime, PodVolumes, SystemClock, attached, chain, exit, found};
use crate::cache::Cache;
use crate::config::Config;
use crate::followers::Followers;
use crate::membership::Membership;
use crate::outbox::Outbox;
use crate::shortage::{self, Shortage};
use crate::static_pods::StaticPods;
use crate::tokens::Tokens;
use crate::uplink::Uplink;
use crate::usage::Sampler;
use crate::{admin, followers, joining, metrics, static_pods};

/// The asker of a stop reads its answer within this.
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(1);
/// Ends that a slow follower of a log may be behind.
const ENDS_MAX: usize = 256;

/// What the rest of the agent works with.
#[derive(Clone)]
pub struct Node {
    pub config: Arc<Config>,
    pub fleet: Fleet,
    pub runtime: Runtime,
    pub images: Images,
    pub volumes: Volumes,
    pub network: Network,
    pub followers: Followers,
    pub cache: Arc<Cache>,
    pub outbox: Arc<Outbox>,
    pub tokens: Arc<Tokens>,
    pub static_pods: Arc<StaticPods>,
    pub machine: Arc<Machine>,
    pub shortage: Arc<Shortage>,
    pub sampler: Arc<Sampler>,
    /// Ids of containers as they end, for those who follow their logs.
    pub ends: broadcast::Sender<String>,
}

/// Why the agent ends.
enum End {
    /// Pods go on.
    Terminated,
    /// `bramble-agent stop`: pods end too.
    Stop(admin::StopRequest),
}

pub async fn run(config: Config) -> Result<()> {
    crate::checks::check_machine()?;
    let _lock = lock(&config)?;
    let key = NodeKey::load_or_create(&config.layout.identity()).context("cannot have the node's key")?;
    let cache = Arc::new(Cache::open(config.layout.cache())?);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(supervisor::keep_watchdog());
    // A node that waits to be let in, or starts its pods without a server, does what it is for.
    supervisor::ready().context("cannot tell the supervisor that the agent runs")?;
    let started = async {
        let identity = joining::identity(&config, &key).await?;
        start(config.clone(), identity, &key, cache).await
    };
    let (node, uplink, connected) = tokio::select! {
        started = started => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let (stop, mut stopped) = tokio::sync::mpsc::channel(1);
    admin::serve(&config.layout.socket(), node.clone(), stop).context("cannot serve the local socket")?;
    metrics::serve(node.clone()).await;
    tokio::spawn(follow_exits(node.clone()));
    tokio::spawn(shortage::keep(node.clone()));
    if let Some(clock) = &node.config.clock {
        tokio::spawn(clock.clone().keep());
    }
    let behind = node.cache.clone();
    tokio::spawn(async move { behind.write_behind().await });
    let followed = node.clone();
    let manifests = tokio::spawn(async move {
        if let Err(error) = followed.static_pods.keep(&followed.fleet, &followed.outbox).await {
            tracing::error!(error = format!("{error:#}"), "the folder of static pods is not followed");
        }
    });
    let uplink = tokio::spawn(uplink.run(node.clone(), connected));
    let end = tokio::select! {
        _ = terminate.recv() => End::Terminated,
        _ = interrupt.recv() => End::Terminated,
        Some(done) = stopped.recv() => End::Stop(done),
    };
    uplink.abort();
    manifests.abort();
    node.cache.write_shared();
    if let Some(clock) = &node.config.clock {
        clock.save();
    }
    let _ = std::fs::remove_file(config.layout.socket());
    if let End::Stop(done) = end {
        tracing::info!("stopping all pods");
        node.fleet.halt().await;
        node.runtime.remove_all().await.context("cannot remove every sandbox")?;
        node.followers.stop();
        remove_network(&config, &key, &node.cache).await?;
        let (written, read) = tokio::sync::oneshot::channel();
        if done.send(written).is_ok() {
            // Ends when the asker was told: nothing is ever sent.
            let _ = tokio::time::timeout(ANSWER_SECONDS_MAX, read).await;
        }
    }
    let _ = std::fs::remove_file(config.layout.pid_file());
    Ok(())
}

/// One agent a data folder; the file names its process.
fn lock(config: &Config) -> Result<Flock<File>> {
    durable::public_folder(&config.layout.root)
        .with_context(|| format!("cannot make {}", config.layout.root.display()))?;
    let path = config.layout.pid_file();
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let Ok(mut locked) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
        bail!("another agent runs on {}", config.layout.root.display());
    };
    locked.set_len(0)?;
    writeln!(locked, "{}", std::process::id())?;
    Ok(locked)
}

/// All parts of the node. A node that knows its pod range starts its pods before it looks for a server.
async fn start(
    config: Config,
    identity: Identity,
    key: &NodeKey,
    cache: Arc<Cache>,
) -> Result<(Node, Uplink, Option<Link>)> {
    let machine = machine(&config, &identity);
    let images = images(&config)?;
    let status = machine.status(&node_images(&images), Pressure::default(), None, SystemClock.now());
    let hello = Hello {
        protocol: PROTOCOL,
        node_name: identity.node_name.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: format!("linux/{}", machine.architecture),
        node: serde_json::to_vec(&machine.node(&status))?,
    };
    let membership = Membership::new(&config, identity);
    let mut uplink = Uplink::new(membership, hello, machine.node(&status), status)?;
    let mut connected = None;
    if cache.network().is_none() {
        let (link, accepted) = uplink.connect().await;
        cache.set_network(&accepted.network)?;
        connected = Some(link);
    }
    let short = key.short();
    let runtime = agent_runtime::Config::new(&config.layout.root, format!("bramble-{short}"));
    let runtime = Runtime::new(runtime).await.context("cannot open the runtime's state")?;
    let adopted = runtime.adopt().await.context("cannot look for running pods")?;
    remove_dead(&runtime, &adopted).await;
    drop_unknown_roots(&config, &images, &adopted).await;
    let network =
        Network::setup(network_config(&config, key, &cache)?).await.context("cannot set up the pod network")?;
    let static_pods = Arc::new(StaticPods::new(config.layout.manifests(), &machine.name));
    let live = attached(&adopted, &[cache.pods(), static_pods.pods()].concat());
    network.adopt(&live).await.context("cannot look after the links of running pods")?;
    let followers = Followers::start(&config, (&short, &machine.name), &network, &cache).await?;
    let outbox = Arc::new(Outbox::default());
    let tokens = Arc::new(Tokens::default());
    let volumes = PodVolumes {
        volumes: pod_volumes(&config),
        cache: cache.clone(),
        tokens: tokens.clone(),
        reporter: outbox.clone(),
    };
    let fleet = fleet(&config, &machine, &runtime, &images, &network, volumes, &outbox, adopted).await?;
    let ends = broadcast::Sender::new(ENDS_MAX);
    let volumes = pod_volumes(&config);
    let node = Node {
        config: Arc::new(config),
        fleet,
        runtime,
        images,
        volumes,
        network,
        followers,
        cache,
        outbox,
        tokens,
        static_pods,
        machine: Arc::new(machine),
        shortage: Arc::default(),
        sampler: Arc::default(),
        ends,
    };
    take_up(&node).await;
    Ok((node, uplink, connected))
}

/// The pods that are this node's own or were the server's last word go on, without one in reach.
async fn take_up(node: &Node) {
    for pod in node.cache.pods() {
        if !static_pods::is_mirror(&pod) {
            node.fleet.put(pod).await;
        }
    }
    node.static_pods.read(&node.fleet, &node.outbox).await;
}

/// Dead sandboxes (after a reboot, say) are cleared away, before anything that their last processes may use.
async fn remove_dead(runtime: &Runtime, adopted: &[SandboxStatus]) {
    for sandbox in adopted.iter().filter(|sandbox| !sandbox.alive) {
        let uid = &sandbox.spec.uid;
        if let Err(error) = runtime.remove_sandbox(uid).await {
            tracing::warn!(uid, error = chain(&error), "a dead sandbox is not wholly removed");
        }
    }
}

/// A killed agent may have mounted a root for a container that it never came to make, or not have removed one that was
/// over: nobody knows those. What a record or a live sandbox names is left to its pod.
async fn drop_unknown_roots(config: &Config, images: &Images, adopted: &[SandboxStatus]) {
    let mut known = Records::new(config.layout.pods()).container_ids();
    let live = adopted.iter().filter(|sandbox| sandbox.alive).flat_map(|sandbox| &sandbox.containers);
    known.extend(live.map(|container| container.spec.id.clone()));
    let snapshots = images.snapshots();
    for id in snapshots.list().unwrap_or_default().into_iter().filter(|id| !known.contains(id)) {
        match snapshots.remove(&id).await {
            Ok(()) => tracing::info!(id, "the root of a container that was never made is removed"),
            Err(error) => tracing::warn!(id, error = chain(&error), "the root of an unknown container is not removed"),
        }
    }
}

/// Live sandboxes are given to their pods.
#[allow(clippy::too_many_arguments, reason = "each is a part of the node that pods need, and nothing else calls it")]
async fn fleet(
    config: &Config,
    machine: &Machine,
    runtime: &Runtime,
    images: &Images,
    network: &Network,
    volumes: PodVolumes,
    outbox: &Arc<Outbox>,
    adopted: Vec<SandboxStatus>,
) -> Result<Fleet> {
    let live = adopted.into_iter().filter(|sandbox| sandbox.alive);
    let live: HashMap<String, Vec<Found>> =
        live.map(|sandbox| (sandbox.spec.uid, sandbox.containers.into_iter().map(found).collect())).collect();
    let told = volumes.cache.network().context("the cluster's network is not known yet")?;
    let ports = Ports {
        runtime: Arc::new(PodRuntime(runtime.clone())),
        images: Arc::new(PodImages(images.clone())),
        network: Arc::new(PodNetworks(network.clone())),
        objects: volumes.cache.clone(),
        volumes: Arc::new(volumes),
        reporter: outbox.clone(),
        clock: Arc::new(SystemClock),
    };
    let settings = Settings {
        node_name: machine.name.clone(),
        host_ips: machine.addresses.clone(),
        cpu_milli: i64::try_from(machine.cpus).unwrap_or(1) * 1000,
        memory_bytes: i64::try_from(machine.allocatable_memory_bytes()).unwrap_or(i64::MAX),
        log_root: config.layout.logs(),
        link_root: config.layout.log_links(),
        records: Records::new(config.layout.pods()),
        cluster_dns: ClusterDns { servers: vec![told.dns], domain: told.domain },
    };
    Ok(Fleet::new(ports, settings, live))
}

fn pod_volumes(config: &Config) -> Volumes {
    Volumes::new(config.layout.pods(), config.layout.local_path())
}

pub fn images(config: &Config) -> Result<Images> {
    let mut images = agent_oci::Config::new(&config.layout.root);
    let registries = config.registries.clone();
    images.registries.insecure = registries.insecure;
    images.registries.mirrors = registries.mirrors;
    images.registries.ca_files = registries.ca_files;
    Images::open(images).context("cannot open the node's images")
}

/// Takes away links, routes and rules; needs no running agent.
pub async fn remove_network(config: &Config, key: &NodeKey, cache: &Cache) -> Result<()> {
    // A node that never heard of its network has none.
    let Some(network) = cache.network() else { return Ok(()) };
    let removed = Network::teardown(&network_config(config, key, cache)?).await;
    Proxy::teardown(&followers::proxy_config(&key.short(), &config.node_name, &network)?)
        .context("cannot remove the rules of Services")?;
    removed.context("cannot remove the pod network")
}

pub fn network_config(config: &Config, key: &NodeKey, cache: &Cache) -> Result<agent_network::Config> {
    let network = cache.network().context("the node's pod range is not known yet")?;
    Ok(agent_network::Config {
        pod_range: network.pod_range.parse().context("the node's pod range")?,
        cluster_range: network.cluster_range.parse().context("the cluster's pod range")?,
        service_range: network.service_range.parse().context("the range of Services")?,
        vxlan_id: agent_network::VXLAN_ID,
        vxlan_port: agent_network::VXLAN_PORT,
        node: key.short(),
        state_dir: config.layout.network(),
        mtu: None,
        netns: None,
    })
}

pub fn node_images(images: &Images) -> Vec<NodeImage> {
    let list = images.list().unwrap_or_default().into_iter();
    list.map(|image| NodeImage {
        names: image.repo_digest.into_iter().chain([image.name]).collect(),
        size_bytes: image.size_bytes,
    })
    .collect()
}

fn machine(config: &Config, identity: &Identity) -> Machine {
    let storage_bytes = shortage::disk(&config.layout.root).map_or(0, |(space, _)| space.whole);
    let address = own_address(&identity.addresses).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let user_namespaces = match UserNamespaces::try_with(Path::new("/proc/self/exe"), &config.layout.root) {
        UserNamespaces::ForAll => true,
        UserNamespaces::OnDisk(why) | UserNamespaces::ForNone(why) => {
            tracing::info!(why, "not every pod can have users of its own (hostUsers: false) here");
            false
        }
    };
    let machine = Machine::read(identity.node_name.clone(), vec![address.to_string()], storage_bytes);
    Machine { user_namespaces, ..machine }
}

/// The address this machine has on its default route, else towards the server; nothing is sent.
pub fn own_address(servers: &[String]) -> Option<IpAddr> {
    let towards = |target: &str| {
        let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
        socket.connect(target).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let default = towards("192.0.2.1:9").filter(|ip| !ip.is_loopback());
    default.or_else(|| servers.iter().find_map(|server| towards(server)))
}

async fn follow_exits(node: Node) {
    let Some(mut events) = node.runtime.events() else { return };
    while let Some(event) = events.recv().await {
        let id = event.container_id.clone();
        node.fleet.exited(&event.pod_uid, event.container_id, exit(event.exit)).await;
        // Nobody may be listening.
        let _ = node.ends.send(id);
    }
}
