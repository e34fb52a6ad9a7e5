//! Counters.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often what happened, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    pub queries_udp: u64,
    pub queries_tcp: u64,
    /// Answered from the cluster's own names.
    pub local: u64,
    pub cache_hits: u64,
    /// Asked upstream; the same question of several clients at once counts once.
    pub forwarded: u64,
    pub server_failures: u64,
    /// Not heard, malformed, or more than there was room for.
    pub dropped: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub queries_udp: AtomicU64,
    pub queries_tcp: AtomicU64,
    pub local: AtomicU64,
    pub cache_hits: AtomicU64,
    pub forwarded: AtomicU64,
    pub server_failures: AtomicU64,
    pub dropped: AtomicU64,
}

impl Counters {
    pub fn snapshot(&self) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            queries_udp: read(&self.queries_udp),
            queries_tcp: read(&self.queries_tcp),
            local: read(&self.local),
            cache_hits: read(&self.cache_hits),
            forwarded: read(&self.forwarded),
            server_failures: read(&self.server_failures),
            dropped: read(&self.dropped),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
