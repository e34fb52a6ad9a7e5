//! What the nodes tell the bench, and what it wants of them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use control_wire::JoinToken;
use tokio::sync::{Notify, watch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Beating,
    /// Connected, without heartbeats.
    Silent,
}

pub struct Board {
    pub token: JoinToken,
    mode: watch::Sender<Mode>,
    /// Counts up when every node is to lose its connection.
    generation: watch::Sender<u64>,
    synced: Mutex<HashSet<usize>>,
    heard: Mutex<HashMap<String, Instant>>,
    bytes: AtomicU64,
    changed: Notify,
}

impl Board {
    pub fn new(token: JoinToken) -> Self {
        Self {
            token,
            mode: watch::Sender::new(Mode::Beating),
            generation: watch::Sender::new(0),
            synced: Mutex::default(),
            heard: Mutex::default(),
            bytes: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    pub fn reconnect(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    fn synced_nodes(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn forget_synced(&self) {
        self.synced_nodes().clear();
    }

    pub fn node_synced(&self, node: usize) {
        self.synced_nodes().insert(node);
        self.changed.notify_one();
    }

    /// Until so many nodes have their whole desired state.
    pub async fn synced(&self, count: usize) {
        while self.synced_nodes().len() < count {
            self.changed.notified().await;
        }
    }

    /// A node heard of a pod of its own.
    pub fn pod_heard(&self, name: &str) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_insert_with(Instant::now);
        self.changed.notify_one();
    }

    pub async fn heard(&self, pod: &str) -> Instant {
        loop {
            if let Some(at) = self.heard.lock().unwrap_or_else(PoisonError::into_inner).get(pod) {
                return *at;
            }
            self.changed.notified().await;
        }
    }

    pub fn told(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// JSON that all nodes were told so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
