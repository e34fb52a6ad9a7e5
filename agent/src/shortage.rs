//! Looks after what pods share: how much memory, disk and process numbers are left. Where that is less than it should be,
//! images that only take room go first ([`images`]), and then pods ([`evict`]). Pods that take more of the disk than they may
//! ([`limits`]) go in any case.

mod evict;
mod images;
mod limits;
mod measure;
mod stalls;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent_pods::machine::Note;
use agent_pods::ports::{Clock, Reporter};
use agent_pods::pressure::{Gauge, Pressure, Room, Signal};
use agent_pods::{event, node};

use crate::adapters::SystemClock;
use crate::daemon::Node;

pub use images::images_of;

/// Nothing tells of a disk that fills, so it is looked at as often as the heartbeat looks at the rest of the Node. Of a lack
/// of memory the kernel tells.
const LOOK: Duration = Duration::from_secs(10);

/// What the last look has found.
#[derive(Debug, Default)]
pub struct Shortage {
    pressure: Mutex<Pressure>,
    stalls: AtomicU64,
}

impl Shortage {
    pub fn pressure(&self) -> Pressure {
        *self.pressure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the kernel has told that something waits for memory.
    pub fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    fn set(&self, pressure: Pressure) {
        *self.pressure.lock().unwrap_or_else(PoisonError::into_inner) = pressure;
    }

    fn count_stall(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
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
    let stalls = stalls::Stalls::follow();
    let mut watch = Watch {
        node,
        gauge: Gauge::default(),
        unused: images::Unused::default(),
        limits: limits::Limits::default(),
        short_of: None,
    };
    let mut timer = tokio::time::interval(LOOK);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = stalls.next() => watch.node.shortage.count_stall(),
        }
        // Whether a pod's end was enough shows at once.
        while watch.look().await {}
    }
}

struct Watch {
    node: Node,
    gauge: Gauge,
    unused: images::Unused,
    limits: limits::Limits,
    /// What the last look found too little of.
    short_of: Option<Signal>,
}

impl Watch {
    /// True where a pod had to go.
    async fn look(&mut self) -> bool {
        let mut rooms = rooms(&self.node.config.layout.root);
        self.tell(&rooms);
        if self.reclaim(&rooms).await {
            rooms = self::rooms(&self.node.config.layout.root);
        }
        if self.limits.enforce(&self.node).await {
            return true;
        }
        match self.lacks(&rooms, |_| true) {
            Some((signal, room)) => evict::one(&self.node, signal, room).await,
            None => false,
        }
    }

    /// The first of these signals that is below its threshold.
    fn lacks(&self, rooms: &[(Signal, Room)], of: impl Fn(Signal) -> bool) -> Option<(Signal, Room)> {
        rooms.iter().copied().find(|(signal, room)| of(*signal) && self.node.config.thresholds.is_met(*signal, *room))
    }

    /// To the Node's conditions and, where something has become short, to who looks at its Events.
    fn tell(&mut self, rooms: &[(Signal, Room)]) {
        let node = &self.node;
        let now = SystemClock.now();
        let pressure = self.gauge.observe(&node.config.thresholds, rooms, now);
        let before = node.shortage.pressure();
        if pressure != before {
            tracing::warn!(?pressure, ?before, "what pods share has become short, or is no longer");
            node.shortage.set(pressure);
            node.fleet.pressed(pressure);
        }
        let short_of = self.lacks(rooms, |_| true).map(|(signal, _)| signal);
        if let Some(signal) = short_of.filter(|_| short_of != self.short_of) {
            let message = format!("Attempting to reclaim {}", signal.resource());
            let note = Note { warning: true, reason: "EvictionThresholdMet", message, container: None };
            self.node.outbox.event(event::render_node(&note, &self.node.machine.name, now));
        }
        self.short_of = short_of;
    }

    /// Makes room on the disk without ending a pod; true where it was tried for the sake of pods.
    async fn reclaim(&mut self, rooms: &[(Signal, Room)]) -> bool {
        let full = |(signal, room): &(Signal, Room)| {
            *signal == Signal::DiskSpace && room.used_percent() >= self.node.config.image_gc_percent
        };
        let short = self.lacks(rooms, Signal::is_of_disk).is_some();
        if short {
            self.unused.remove(&self.node, Duration::ZERO).await;
        } else if rooms.iter().any(full) {
            self.unused.remove(&self.node, self.node.config.image_gc_age).await;
        } else {
            self.unused.forget();
        }
        short
    }
}

/// In the order in which a lack of them is dealt with.
fn rooms(folder: &Path) -> Vec<(Signal, Room)> {
    let mut rooms = vec![(Signal::Memory, node::memory_room())];
    if let Some((space, inodes)) = disk(folder) {
        rooms.push((Signal::DiskSpace, space));
        // Some file systems make inodes as they need them.
        rooms.extend((inodes.whole > 0).then_some((Signal::Inodes, inodes)));
    }
    rooms.extend(node::pid_room().map(|room| (Signal::Pids, room)));
    rooms
}
