//! Pods that wait for a node: in line, or parked until something changes that may help them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use control_client::queue::Outcome;
use control_client::{Key, Queue};

use crate::pod::PodInfo;

/// An unschedulable pod is not tried again sooner after its last attempt; doubled by each attempt. Short at first: at a
/// cluster's start pods are there before the node that can take them, which becomes Ready in several steps.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Beyond so many doublings the back-off is at its maximum anyway.
const DOUBLINGS_MAX: u32 = 10;

#[derive(Debug)]
struct Attempts {
    count: u32,
    last: Instant,
}

/// Bounded by the store's unbound pods.
#[derive(Debug, Default)]
pub struct Pending {
    pods: HashMap<Key, PodInfo>,
    queue: Queue<Key>,
    parked: HashSet<Key>,
    attempts: HashMap<Key, Attempts>,
}

impl Pending {
    /// A pod that wants a node. A report of its status alone does not bring it back in line.
    pub fn put(&mut self, pod: PodInfo) {
        if self.pods.get(&pod.key) == Some(&pod) {
            return;
        }
        let key = pod.key.clone();
        self.parked.remove(&key);
        self.pods.insert(key.clone(), pod);
        self.queue.add(key);
    }

    pub fn remove(&mut self, key: &Key) {
        self.pods.remove(key);
        self.parked.remove(key);
        self.attempts.remove(key);
    }

    /// The next pod to place; it is ours until [`Pending::put_back`], [`Pending::park`] or [`Pending::remove`].
    pub fn take(&mut self, now: Instant) -> Option<PodInfo> {
        while let Some(key) = self.queue.take(now) {
            if let Some(pod) = self.pods.get(&key) {
                self.parked.remove(&key);
                return Some(pod.clone());
            }
            self.queue.finish(key, Outcome::Done, now);
        }
        None
    }

    /// A decision was made, or a write ended; `Failed` comes back later.
    pub fn finish(&mut self, key: Key, outcome: Outcome, now: Instant) {
        self.queue.finish(key, outcome, now);
    }

    /// No node will do for now.
    pub fn park(&mut self, key: Key, now: Instant) {
        let attempts = self.attempts.entry(key.clone()).or_insert(Attempts { count: 0, last: now });
        attempts.count += 1;
        attempts.last = now;
        self.parked.insert(key.clone());
        self.queue.finish(key, Outcome::Done, now);
    }

    /// An answer is asked for; until [`Pending::wake`] nothing else brings it back.
    pub fn wait(&mut self, key: Key, now: Instant) {
        self.queue.finish(key, Outcome::Done, now);
    }

    /// The answer is there.
    pub fn wake(&mut self, key: Key) {
        if self.pods.contains_key(&key) {
            self.queue.add(key);
        }
    }

    /// Tries a parked pod again at `at`, whatever happens till then.
    pub fn again(&mut self, key: Key, now: Instant, at: Instant) {
        self.queue.add_after(key, now, at.saturating_duration_since(now));
    }

    /// Something changed that may help: every parked pod is tried again once its back-off is over.
    pub fn unpark(&mut self, now: Instant) {
        for key in self.parked.drain() {
            let due = self.attempts.get(&key).map_or(now, |attempts| attempts.last + backoff(attempts.count));
            match due.checked_duration_since(now).filter(|wait| !wait.is_zero()) {
                Some(wait) => self.queue.add_after(key, now, wait),
                None => self.queue.add(key),
            }
        }
    }

    /// When the next pod is due that is not in line yet.
    pub fn deadline(&self) -> Option<Instant> {
        self.queue.deadline()
    }

    pub fn keys(&self) -> Vec<Key> {
        self.pods.keys().cloned().collect()
    }
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(DOUBLINGS_MAX)).min(BACKOFF_MAX)
}
