//! The node's side of its session with a server: desired state in, news out, streams served; again and again.

use std::collections::HashSet;
use std::time::Duration;

use agent_pods::ports::Clock;
use anyhow::Result;
use control_wire::{Accepted, Hello, Identity, Incoming, Link, Report, ReportStream, Sync, SyncStream};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::time::Instant;

use crate::adapters::{SystemClock, chain};
use crate::cache::Key;
use crate::daemon::{Node, node_images};
use crate::exec;

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(15);
const HEARTBEAT: Duration = Duration::from_secs(10);

pub struct Uplink {
    identity: Identity,
    hello: Hello,
    status: Value,
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
    pub fn new(identity: Identity, hello: Hello, status: Value) -> Self {
        Self { identity, hello, status }
    }

    /// Dials until a server answers, with a growing, jittered pause.
    pub async fn connect(&self) -> (Link, Accepted) {
        let mut pause = PAUSE_MIN;
        loop {
            match Link::connect(&self.identity.addresses, &self.identity, self.hello.clone()).await {
                Ok(connected) => return connected,
                Err(error) => tracing::warn!(error = chain(&error), "no connection to a server"),
            }
            tokio::time::sleep(pause.mul_f64(jitter())).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    pub async fn run(mut self, node: Node, mut connected: Option<Link>) {
        let mut position = Position::default();
        loop {
            let link = match connected.take() {
                Some(link) => link,
                None => {
                    let (link, accepted) = self.connect().await;
                    if node.cache.pod_range().as_deref().map(str::trim) != Some(accepted.pod_range.as_str()) {
                        tracing::error!(
                            range = accepted.pod_range,
                            "the server gave another pod range; reset the node"
                        );
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
        node.fleet.report().await;
        tokio::select! {
            ended = follow(node, desired, position) => ended,
            ended = self.tell(node, reports) => ended,
            ended = serve(node, link) => ended,
        }
    }

    /// The only timer of an idle agent is here: a heartbeat, and a look whether the Node has changed.
    async fn tell(&mut self, node: &Node, mut stream: ReportStream) -> Result<()> {
        let mut next = Instant::now();
        loop {
            let beat = tokio::select! {
                () = tokio::time::sleep_until(next) => true,
                () = node.outbox.filled() => false,
            };
            if beat {
                next = Instant::now() + HEARTBEAT;
                let now = SystemClock.now();
                stream.send(&Report::Heartbeat { time_ms: now.as_millisecond() }).await?;
                let status = node.machine.status(&node_images(&node.images), Some(&self.status), now);
                if status != self.status {
                    node.outbox.node_status(serde_json::to_vec(&status)?);
                    self.status = status;
                }
            }
            let mut batch = Batch { node, reports: node.outbox.take() };
            for report in &batch.reports {
                stream.send(report).await?;
            }
            stream.flushed().await?;
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

/// Between a half and one.
fn jitter() -> f64 {
    let nanos = SystemClock.now().subsec_nanosecond().unsigned_abs() % 1000;
    0.5 + f64::from(nanos) / 2000.0
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
                if let Some(seen) = position.seen.take() {
                    forget_others(node, &seen).await;
                }
            }
        }
    }
    anyhow::bail!("the server ended the desired state")
}

async fn put(node: &Node, key: &Key, json: &[u8]) {
    let changed = node.cache.put(key, json).unwrap_or_else(|error| {
        tracing::warn!(?key, error = format!("{error:#}"), "an object is not kept on disk");
        true
    });
    if key.0 == "pods" {
        match serde_json::from_slice::<Pod>(json) {
            Ok(pod) => node.fleet.put(pod).await,
            Err(error) => tracing::error!(?key, %error, "a pod cannot be read"),
        }
    } else if changed {
        node.fleet.refresh(&key.1).await;
    }
}

async fn remove(node: &Node, key: &Key) {
    if let Err(error) = node.cache.remove(key) {
        tracing::warn!(?key, error = format!("{error:#}"), "an object is not removed from disk");
    }
    if key.0 == "pods" {
        node.fleet.remove(&key.1, &key.2).await;
    }
}

async fn forget_others(node: &Node, seen: &HashSet<Key>) {
    for key in node.cache.keys() {
        if !seen.contains(&key) {
            remove(node, &key).await;
        }
    }
    for uid in node.fleet.take_orphans() {
        tracing::info!(uid, "removing a sandbox that no pod wants");
        let detached = node.network.detach(&uid).await;
        let removed = node.runtime.remove_sandbox(&uid).await;
        if let Some(error) = detached.err().map(|e| chain(&e)).or(removed.err().map(|e| chain(&e))) {
            tracing::warn!(uid, error, "a sandbox is not wholly removed");
        }
    }
}

async fn serve(node: &Node, link: &Link) -> Result<()> {
    loop {
        match link.accept().await? {
            Incoming::Log(request, sink) => drop(tokio::spawn(exec::logs(node.clone(), request, sink))),
            Incoming::Exec(request, pipe) => drop(tokio::spawn(exec::exec(node.clone(), request, pipe))),
        }
    }
}
