//! The node's side of its session with a server: desired state in, news out, streams served; again and again.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_pods::ports::Clock;
use anyhow::{Context, Result, bail};
use control_api::local_path;
use control_api::view::{View, core::Pod};
use control_wire::addresses;
use control_wire::{Accepted, Hello, Incoming, Link, Report, ReportStream, Sync, SyncStream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::adapters::{self, SystemClock};
use crate::cache::{Key, is_shared};
use crate::daemon::{Node, node_images, own_address};
use crate::membership::{Membership, jitter};
use crate::{attach, exec, forward, strays, tokens, usage};

const PAUSE_MIN: Duration = Duration::from_millis(200);
/// An acknowledgement after a change of address takes longer only where the path is gone.
const REBIND_SECONDS_MAX: u64 = 2;
/// With a heartbeat before it and a new connection after it this is less than the 50 s that make a node NotReady.
const ANSWER_SECONDS_MAX: u64 = 12;
const HEARTBEAT: Duration = Duration::from_secs(10);

pub struct Uplink {
    membership: Arc<Membership>,
    hello: Hello,
    /// The Node object, whose status is `status`.
    node: Value,
    status: Value,
    addresses: watch::Receiver<Vec<IpAddr>>,
}

/// Where the desired state was left off.
#[derive(Default)]
struct Position {
    revision: u64,
    epoch: u64,
    /// After a reset: what was sent since. What is not in it when it ends is gone.
    seen: Option<HashSet<Key>>,
}

impl Uplink {
    pub fn new(membership: Membership, hello: Hello, node: Value, status: Value) -> Result<Self> {
        let addresses = addresses::follow().context("cannot follow this machine's addresses")?;
        let membership = Arc::new(membership);
        Ok(Self { membership, hello, node, status, addresses })
    }

    /// Dials until a server answers.
    pub async fn connect(&mut self) -> (Link, Accepted) {
        self.refresh_addresses();
        let mut object = self.node.clone();
        object["status"] = self.status.clone();
        let node = object.to_string().into_bytes();
        self.membership.connect(|| Hello { node: node.clone(), ..self.hello.clone() }).await
    }

    /// `status.addresses` as they are now; true where they changed.
    fn refresh_addresses(&mut self) -> bool {
        let Some(own) = own_address(&self.membership.identity().addresses) else { return false };
        let own =
            json!([{"type": "InternalIP", "address": own}, {"type": "Hostname", "address": self.hello.node_name}]);
        let changed = self.status["addresses"] != own;
        self.status["addresses"] = own;
        changed
    }

    /// As the Node tells them.
    fn own_addresses(&self) -> Vec<String> {
        let told = self.status["addresses"].as_array().into_iter().flatten();
        let own = told.filter(|address| address["type"] == "InternalIP");
        own.filter_map(|address| address["address"].as_str().map(str::to_owned)).collect()
    }

    pub async fn run(mut self, node: Node, mut connected: Option<Link>) {
        let mut position = Position::default();
        loop {
            let link = match connected.take() {
                Some(link) => link,
                None => {
                    let (link, accepted) = self.connect().await;
                    if node.cache.network().as_ref() != Some(&accepted.network) {
                        let told = accepted.network;
                        tracing::error!(?told, "the server tells of another network than before; reset the node");
                    }
                    link
                }
            };
            tracing::info!(server = %link.remote_address(), "connected");
            let ended = self.session(&node, &link, &mut position).await;
            if let Err(error) = ended {
                tracing::warn!(error = format!("{error:#}"), "connection to the server ended");
            }
            // A server that accepts and then fails at once must not be asked in a tight loop.
            tokio::time::sleep(PAUSE_MIN.mul_f64(jitter())).await;
        }
    }

    async fn session(&mut self, node: &Node, link: &Link, position: &mut Position) -> Result<()> {
        position.seen = None;
        let reports = link.report().await?;
        let desired = link.sync(position.revision, position.epoch).await?;
        node.outbox.node_status(serde_json::to_vec(&self.status)?);
        node.fleet.moved(self.own_addresses()).await;
        node.static_pods.report(&node.outbox);
        node.fleet.report().await;
        let membership = self.membership.clone();
        tokio::select! {
            ended = follow(node, desired, position) => ended,
            ended = self.tell(node, link, reports) => ended,
            () = membership.renewals(link) => Ok(()),
            ended = serve(node, link) => ended,
            ended = tokens::keep(node, link) => ended,
        }
    }

    /// Takes the connection to the new address, and sees within seconds whether it came along: else a new one is faster
    /// than waiting for the old one's timers.
    async fn moved(&mut self, link: &Link, stream: &mut ReportStream) -> Result<()> {
        tracing::info!("this machine's addresses changed");
        link.rebind().context("cannot move the connection to the new address")?;
        let heard = async {
            stream.send(&Report::Heartbeat { time_ms: SystemClock.now().as_millisecond() }).await?;
            stream.flushed().await
        };
        match tokio::time::timeout(Duration::from_secs(REBIND_SECONDS_MAX), heard).await {
            Ok(heard) => Ok(heard?),
            Err(_) => bail!("the server does not answer since this machine's addresses changed"),
        }
    }

    /// The only timer of an idle agent is here: a heartbeat, and a look whether the Node has changed.
    async fn tell(&mut self, node: &Node, link: &Link, mut stream: ReportStream) -> Result<()> {
        let mut next = Instant::now();
        loop {
            let beat = tokio::select! {
                () = tokio::time::sleep_until(next) => true,
                () = node.outbox.filled() => false,
                Ok(()) = self.addresses.changed() => {
                    self.moved(link, &mut stream).await?;
                    true
                }
            };
            if beat {
                next = Instant::now() + HEARTBEAT;
                let now = SystemClock.now();
                stream.send(&Report::Heartbeat { time_ms: now.as_millisecond() }).await?;
                let moved = self.refresh_addresses();
                let (images, pressure) = (node_images(&node.images), node.shortage.pressure());
                let mut status = node.machine.status(&images, pressure, Some(&self.status), now);
                status["addresses"] = self.status["addresses"].clone();
                if moved {
                    node.fleet.moved(self.own_addresses()).await;
                }
                if moved || status != self.status {
                    node.outbox.node_status(serde_json::to_vec(&status)?);
                    self.status = status;
                }
            }
            let mut batch = Batch { node, reports: node.outbox.take() };
            for report in &batch.reports {
                stream.send(report).await?;
            }
            // Without an answer for so long the server is gone or elsewhere; the transport alone would tell much later.
            match tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), stream.flushed()).await {
                Ok(flushed) => flushed?,
                Err(_) => bail!("the server does not answer"),
            }
            batch.reports.clear();
        }
    }
}

/// Reports on their way: back into the outbox unless all arrived, also when the session is dropped midway.
struct Batch<'a> {
    node: &'a Node,
    reports: Vec<Report>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.node.outbox.give_back(std::mem::take(&mut self.reports));
    }
}

async fn follow(node: &Node, mut desired: SyncStream, position: &mut Position) -> Result<()> {
    while let Some(frame) = desired.next().await? {
        match frame {
            Sync::Reset { epoch } => {
                position.epoch = epoch;
                position.seen = Some(HashSet::new());
            }
            Sync::Put { resource, namespace, name, json, .. } => {
                let key = (resource, namespace, name);
                put(node, &key, &json).await;
                if let Some(seen) = &mut position.seen {
                    seen.insert(key);
                }
            }
            Sync::Delete { resource, namespace, name, .. } => remove(node, &(resource, namespace, name)).await,
            Sync::Synced { revision, epoch } => {
                (position.revision, position.epoch) = (revision, epoch);
                let everything = position.seen.take();
                if let Some(seen) = &everything {
                    forget_others(node, seen).await;
                }
                node.followers.flush().await;
                if everything.is_some() {
                    node.followers.synced();
                }
            }
        }
    }
    bail!("the server ended the desired state")
}

async fn put(node: &Node, key: &Key, json: &[u8]) {
    let changed = node.cache.put(key, json).unwrap_or_else(|error| {
        tracing::warn!(?key, error = format!("{error:#}"), "an object is not kept on disk");
        true
    });
    if key.0 == "persistentvolumes" {
        reclaim(node, json);
    } else if is_shared(&key.0) {
        node.followers.put(key, json);
    } else if key.0 == "pods" {
        match Pod::parse(json) {
            Ok(pod) => {
                if node.static_pods.take_mirror(&pod, &node.outbox) {
                    return;
                }
                // Policies that came with it are in force before its first packet, and Services that were there before.
                node.followers.ready().await;
                node.fleet.put(pod).await;
            }
            Err(error) => tracing::error!(?key, %error, "a pod cannot be read"),
        }
    } else if changed {
        node.fleet.refresh(&key.1).await;
    }
}

/// Removes the data of a volume that is on its way out and lies here, and says so; asked again, it says so again.
fn reclaim(node: &Node, json: &[u8]) {
    let Ok(volume) = serde_json::from_slice::<Value>(json) else { return };
    if !local_path::is_to_be_removed(&volume) || local_path::hostname(&volume) != Some(&node.machine.name) {
        return;
    }
    let (volumes, outbox) = (node.volumes.clone(), node.outbox.clone());
    let name = volume["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let uid = volume["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    // Beside the stream: a folder of many files takes its time.
    tokio::task::spawn_blocking(move || match volumes.remove_data(&volume) {
        Ok(()) => {
            tracing::info!(name, "a volume's data is removed");
            outbox.volume_gone(&name, &uid);
        }
        Err(error) => tracing::error!(name, error = error.in_words(), "a volume's data cannot be removed"),
    });
}

async fn remove(node: &Node, key: &Key) {
    if let Err(error) = node.cache.remove(key) {
        tracing::warn!(?key, error = format!("{error:#}"), "an object is not removed from disk");
    }
    if is_shared(&key.0) {
        node.followers.remove(key);
    }
    if key.0 == "pods" && node.static_pods.mirror_is_gone(key, &node.outbox) {
        node.fleet.report().await;
    } else if key.0 == "pods" {
        node.fleet.remove(&key.1, &key.2).await;
    }
}

async fn forget_others(node: &Node, seen: &HashSet<Key>) {
    for key in node.cache.keys() {
        if !seen.contains(&key) {
            remove(node, &key).await;
        }
    }
    strays::remove(node).await;
}

async fn serve(node: &Node, link: &Link) -> Result<()> {
    loop {
        match link.accept().await? {
            Incoming::Log(request, sink) => drop(tokio::spawn(exec::logs(node.clone(), request, sink))),
            Incoming::Platforms(request, reply) => {
                drop(tokio::spawn(adapters::platforms(node.images.clone(), request, reply)));
            }
            Incoming::Exec(request, pipe) => drop(tokio::spawn(exec::exec(node.clone(), request, pipe))),
            Incoming::Attach(request, pipe) => drop(tokio::spawn(attach::attach(node.clone(), request, pipe))),
            Incoming::Usage(request, reply) => drop(tokio::spawn(usage::answer(node.clone(), request, reply))),
            Incoming::Forward(request, call) => drop(tokio::spawn(forward::forward(node.clone(), request, call))),
        }
    }
}
