//! The agent itself: its parts in the order in which they start, and what ends it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use agent_network::Network;
use agent_oci::Images;
use agent_pods::node::{Machine, NodeImage};
use agent_pods::ports::{Found, Ports};
use agent_pods::record::Records;
use agent_pods::worker::Settings;
use agent_pods::{Fleet, ports::Clock};
use agent_runtime::{Runtime, SandboxStatus};
use agent_volumes::Volumes;
use anyhow::{Context, Result, bail};
use control_wire::{Hello, Identity, JoinError, JoinToken, Link, NodeKey, PROTOCOL};
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast;

use crate::adapters::{PodImages, PodNetworks, PodRuntime, PodVolumes, SystemClock, chain, exit, found};
use crate::cache::Cache;
use crate::config::Config;
use crate::outbox::Outbox;
use crate::uplink::Uplink;
use crate::{admin, metrics};

/// The asker of a stop reads its answer within this.
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(1);
/// Ends that a slow follower of a log may be behind.
const ENDS_MAX: usize = 256;
const JOIN_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What the rest of the agent works with.
#[derive(Clone)]
pub struct Node {
    pub config: Arc<Config>,
    pub fleet: Fleet,
    pub runtime: Runtime,
    pub images: Images,
    pub network: Network,
    pub cache: Arc<Cache>,
    pub outbox: Arc<Outbox>,
    pub machine: Arc<Machine>,
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
    let started = async {
        let identity = identity(&config, &key).await?;
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
    let uplink = tokio::spawn(uplink.run(node.clone(), connected));
    let end = tokio::select! {
        _ = terminate.recv() => End::Terminated,
        _ = interrupt.recv() => End::Terminated,
        Some(done) = stopped.recv() => End::Stop(done),
    };
    uplink.abort();
    let _ = std::fs::remove_file(config.layout.socket());
    if let End::Stop(done) = end {
        tracing::info!("stopping all pods");
        node.fleet.halt().await;
        node.runtime.remove_all().await.context("cannot remove every sandbox")?;
        Network::teardown(&network_config(&config, &key, &node.cache)?)
            .await
            .context("cannot remove the pod network")?;
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
    std::fs::create_dir_all(&config.layout.root)
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

/// The identity of an earlier join, else a new one by the token; a server that is out of reach is waited for.
async fn identity(config: &Config, key: &NodeKey) -> Result<Identity> {
    let dir = config.layout.identity();
    if let Some(identity) = Identity::load(&dir).context("cannot read the node's identity")? {
        return Ok(identity);
    }
    let Some(token) = &config.join else {
        bail!("this node is in no cluster yet: start it with --join TOKEN (`bramble token create` prints one)");
    };
    let token: JoinToken = token.parse().context("the join token cannot be read")?;
    let mut pause = Duration::from_millis(200);
    loop {
        match Link::join(&token, &config.node_name, key).await {
            Ok((identity, _)) => {
                identity.save(&dir).context("cannot keep the node's identity")?;
                tracing::info!(node = config.node_name, cluster = identity.cluster, "joined");
                return Ok(identity);
            }
            Err(error @ (JoinError::Connect { .. } | JoinError::Stream(_))) => {
                tracing::warn!(error = chain(&error), "cannot join yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(JOIN_PAUSE_MAX);
            }
            Err(error) => return Err(error).context("cannot join"),
        }
    }
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
    let status = machine.status(&node_images(&images), None, SystemClock.now());
    let hello = Hello {
        protocol: PROTOCOL,
        node_name: identity.node_name.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: format!("linux/{}", machine.architecture),
        node: serde_json::to_vec(&machine.node(&status))?,
    };
    let uplink = Uplink::new(identity, hello, status);
    let mut connected = None;
    if cache.pod_range().is_none() {
        let (link, accepted) = uplink.connect().await;
        cache.set_pod_range(&accepted.pod_range)?;
        connected = Some(link);
    }
    let short = key.short();
    let runtime = agent_runtime::Config::new(&config.layout.root, format!("bramble-{short}"));
    let runtime = Runtime::new(runtime).await.context("cannot open the runtime's state")?;
    let adopted = runtime.adopt().await.context("cannot look for running pods")?;
    let network =
        Network::setup(network_config(&config, key, &cache)?).await.context("cannot set up the pod network")?;
    let outbox = Arc::new(Outbox::default());
    let fleet = fleet(&config, &machine, &runtime, &images, &network, &cache, &outbox, adopted).await?;
    let ends = broadcast::Sender::new(ENDS_MAX);
    let node = Node {
        config: Arc::new(config),
        fleet,
        runtime,
        images,
        network,
        cache,
        outbox,
        machine: Arc::new(machine),
        ends,
    };
    for pod in node.cache.pods() {
        node.fleet.put(pod).await;
    }
    Ok((node, uplink, connected))
}

/// Dead sandboxes (after a reboot, say) are cleared away; live ones are given to their pods.
#[allow(clippy::too_many_arguments, reason = "each is a part of the node that pods need, and nothing else calls it")]
async fn fleet(
    config: &Config,
    machine: &Machine,
    runtime: &Runtime,
    images: &Images,
    network: &Network,
    cache: &Arc<Cache>,
    outbox: &Arc<Outbox>,
    adopted: Vec<SandboxStatus>,
) -> Result<Fleet> {
    let mut live: HashMap<String, Vec<Found>> = HashMap::new();
    for sandbox in adopted {
        let uid = sandbox.spec.uid;
        if sandbox.alive {
            live.insert(uid, sandbox.containers.into_iter().map(found).collect());
        } else if let Err(error) = runtime.remove_sandbox(&uid).await {
            tracing::warn!(uid, error = chain(&error), "a dead sandbox is not wholly removed");
        }
    }
    let ports = Ports {
        runtime: Arc::new(PodRuntime(runtime.clone())),
        images: Arc::new(PodImages(images.clone())),
        network: Arc::new(PodNetworks(network.clone())),
        volumes: Arc::new(PodVolumes { volumes: Volumes::new(config.layout.pods()), cache: cache.clone() }),
        objects: cache.clone(),
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
    };
    Ok(Fleet::new(ports, settings, live))
}

pub fn images(config: &Config) -> Result<Images> {
    let mut images = agent_oci::Config::new(&config.layout.root);
    let registries = config.registries.clone();
    images.registries.insecure = registries.insecure;
    images.registries.mirrors = registries.mirrors;
    images.registries.ca_files = registries.ca_files;
    Images::open(images).context("cannot open the node's images")
}

pub fn network_config(config: &Config, key: &NodeKey, cache: &Cache) -> Result<agent_network::Config> {
    let range = cache.pod_range().context("the node's pod range is not known yet")?;
    Ok(agent_network::Config {
        pod_range: range.trim().parse().context("the node's pod range")?,
        cluster_range: config.cluster_range,
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
    let storage = nix::sys::statvfs::statvfs(&config.layout.root);
    #[allow(clippy::unnecessary_cast, reason = "both are 32 bits wide on armv7")]
    let storage_bytes = storage.map_or(0, |disk| disk.blocks() as u64 * disk.fragment_size() as u64);
    let address = own_address(&identity.addresses).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Machine::read(identity.node_name.clone(), vec![address.to_string()], storage_bytes)
}

/// The address this machine has on its default route, else towards the server; nothing is sent.
fn own_address(servers: &[String]) -> Option<IpAddr> {
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
