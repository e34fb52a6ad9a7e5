//! Looks after what pods share: how much memory, disk and process numbers are left, and images that only take room.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent_oci::Images;
use agent_pods::node;
use agent_pods::ports::Clock;
use agent_pods::pressure::{Candidate, Gauge, Pressure, Room, Signal, first_to_go};
use agent_pods::resources::Asks;
use anyhow::Result;
use control_api::view::core::Pod;
use tokio::time::Instant;

use crate::adapters::SystemClock;
use crate::daemon::Node;

/// Nothing tells of a disk that fills, so it is looked at as often as the heartbeat looks at the rest of the Node.
const LOOK: Duration = Duration::from_secs(10);

/// That of `system-cluster-critical`: such pods are not evicted.
const CRITICAL_PRIORITY: i64 = 2_000_000_000;

/// What the last look has found.
#[derive(Debug, Default)]
pub struct Shortage(Mutex<Pressure>);

impl Shortage {
    pub fn pressure(&self) -> Pressure {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, pressure: Pressure) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pressure;
    }
}

/// Space and inodes of the file system that a folder lies on.
pub fn disk(folder: &Path) -> Option<(Room, Room)> {
    let disk = nix::sys::statvfs::statvfs(folder).ok()?;
    #[allow(clippy::unnecessary_cast, reason = "they are 32 bits wide on armv7")]
    let [unit, used, free, inodes, free_inodes] = [
        disk.fragment_size() as u64,
        (disk.blocks() - disk.blocks_free()) as u64,
        disk.blocks_available() as u64,
        disk.files() as u64,
        disk.files_available() as u64,
    ];
    // As df counts it: what is reserved is no part of the disk.
    let space = Room { free: free.saturating_mul(unit), whole: (used + free).saturating_mul(unit) };
    Some((space, Room { free: free_inodes, whole: inodes }))
}

/// Measures until the agent ends, with a server in reach or without.
pub async fn keep(node: Node) {
    let mut gauge = Gauge::default();
    let mut unused: HashMap<String, Instant> = HashMap::new();
    let mut timer = tokio::time::interval(LOOK);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let disk = disk(&node.config.layout.root);
        let rooms = rooms(disk);
        let pressure = gauge.observe(&node.config.thresholds, &rooms, SystemClock.now());
        let before = node.shortage.pressure();
        if pressure != before {
            tracing::warn!(?pressure, ?before, "what pods share has become short, or is no longer");
            node.shortage.set(pressure);
        }
        if let Some((_, room)) = rooms
            .iter()
            .find(|(signal, room)| *signal == Signal::Memory && node.config.thresholds.is_met(*signal, *room))
        {
            evict(&node, *room).await;
        }
        let full = disk.is_some_and(|(space, _)| space.used_percent() >= node.config.image_gc_percent);
        if !full && !pressure.disk {
            unused.clear();
            continue;
        }
        match collect(&node, &mut unused).await {
            Ok(0) => {}
            Ok(freed_bytes) => tracing::info!(freed_bytes, "images that no pod names were removed: the disk is full"),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "unused images cannot be removed"),
        }
    }
}

fn rooms(disk: Option<(Room, Room)>) -> Vec<(Signal, Room)> {
    let mut rooms = vec![(Signal::Memory, node::memory_room())];
    rooms.extend(node::pid_room().map(|room| (Signal::Pids, room)));
    if let Some((space, inodes)) = disk {
        rooms.push((Signal::DiskSpace, space));
        // Some file systems make inodes as they need them.
        rooms.extend((inodes.whole > 0).then_some((Signal::Inodes, inodes)));
    }
    rooms
}

/// Ends one pod; whether that was enough shows at the next look.
async fn evict(node: &Node, room: Room) {
    let mut candidates = Vec::new();
    for pod in node.fleet.list() {
        candidates.extend(candidate(node, &pod).await);
    }
    let Some(gone) = first_to_go(&candidates) else { return };
    let kib = |bytes: i64| format!("{}Ki", bytes / 1024);
    let available = kib(i64::try_from(room.free).unwrap_or(i64::MAX));
    let mut message = format!(
        "The node was low on resource: memory. Threshold quantity: {}, available: {available}. ",
        node.config.thresholds.least_memory()
    );
    if gone.memory_used_bytes > gone.memory_requested_bytes {
        let (used, requested) = (kib(gone.memory_used_bytes), kib(gone.memory_requested_bytes));
        let _ = write!(message, "Pod was using {used}, request is {requested}, has larger consumption of memory. ");
    }
    tracing::warn!(uid = gone.uid, message, "a pod is evicted");
    node.fleet.evict(&gone.uid, &message).await;
}

/// A running pod as one that could make room; None where it takes none.
async fn candidate(node: &Node, pod: &Pod) -> Option<Candidate> {
    let uid = pod.metadata.uid.clone()?;
    let spec = pod.spec.as_ref()?;
    let stats = node.runtime.sandbox_stats(&uid).await.ok()?;
    let requested = spec.containers.iter().filter_map(|one| Asks::of(one.resources.as_ref()).memory_request_bytes);
    let priority = i64::from(spec.priority.unwrap_or_default());
    Some(Candidate {
        critical: priority >= CRITICAL_PRIORITY || pod.metadata.deletion_timestamp.is_some(),
        priority,
        memory_used_bytes: i64::try_from(stats.memory_working_set_bytes).unwrap_or(i64::MAX),
        memory_requested_bytes: requested.sum(),
        uid,
    })
}

/// Removes the images that no pod has named for a while; the bytes that were freed.
async fn collect(node: &Node, unused: &mut HashMap<String, Instant>) -> Result<u64> {
    let in_use = images_of(&node.cache.pods(), &node.images)?;
    let present: BTreeSet<String> = node.images.list()?.into_iter().map(|image| image.id).collect();
    unused.retain(|id, _| present.contains(id) && !in_use.contains(id));
    for id in present.difference(&in_use) {
        unused.entry(id.clone()).or_insert_with(Instant::now);
    }
    let is_due = |id: &&String| unused.get(*id).is_some_and(|since| since.elapsed() >= node.config.image_gc_age);
    if !present.iter().any(|id| is_due(&id)) {
        return Ok(0);
    }
    let kept = present.iter().filter(|id| !is_due(id)).cloned().collect();
    let pruned = node.images.prune(&kept).await?;
    tracing::debug!(names = ?pruned.names, layers = pruned.layers, "images removed");
    Ok(pruned.freed_bytes)
}

/// Ids of the images that pods name.
pub fn images_of(pods: &[Pod], images: &Images) -> Result<BTreeSet<String>> {
    let specs = pods.iter().filter_map(|pod| pod.spec.as_ref());
    let containers = specs.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let mut in_use = BTreeSet::new();
    for name in containers.filter_map(|container| container.image.as_deref()) {
        if let Some(image) = images.get(name)? {
            in_use.insert(image.id);
        }
    }
    Ok(in_use)
}
