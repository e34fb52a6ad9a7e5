//! What the node is in its cluster: its identity, where the servers are, and how both are kept current.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent_pods::ports::Clock;
use control_wire::{ConnectError, Hello, Identity, JoinError, Link, discovery, fingerprint, frame::Accepted, trust};

use crate::adapters::{SystemClock, chain};
use crate::clock::MachineClock;
use crate::config::Config;
use crate::state::{Phase, State, Teller};

const PAUSE_MIN: Duration = Duration::from_millis(200);
/// A fleet whose server was away for long is back within this and a dial; meanwhile a thousand nodes are a hundred dials
/// a second.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// A server that refuses the node does not change its mind within seconds.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// A renewal that failed is tried again after this; a third of the certificate's life is left for it.
const RENEW_AGAIN: Duration = Duration::from_secs(3600);
/// The longest sleep before the next look at the clock, which may be set meanwhile.
const RENEW_LOOK_MAX: Duration = Duration::from_secs(24 * 3600);
/// Addresses that are remembered: the servers' present ones, then earlier ones.
const ADDRESSES_MAX: usize = 8;
/// Servers that were out of reach for so long may have moved: one that restarts refuses at once and is back sooner.
const SEARCH_AFTER: Duration = Duration::from_secs(1);
const SEARCH: Duration = Duration::from_secs(2);

/// The node's identity, in memory and on disk.
pub struct Membership {
    dir: PathBuf,
    identity: Mutex<Identity>,
    /// Whether the LAN is asked for the servers where none of the known addresses answers.
    discovery: bool,
    clock: Option<MachineClock>,
    teller: Teller,
}

impl Membership {
    pub fn new(config: &Config, identity: Identity) -> Self {
        trust::is_past(identity.issued_seconds);
        let (clock, teller) = (config.clock.clone(), config.teller.clone());
        teller.tell(|state| {
            *state = State {
                phase: Phase::Connecting,
                node: identity.node_name.clone(),
                fingerprint: fingerprint(&identity.key.hash()),
                cluster: Some(identity.cluster.clone()),
                problem: None,
            };
        });
        let dir = config.layout.identity();
        Self { dir, identity: Mutex::new(identity), discovery: config.discovery, clock, teller }
    }

    fn not_connected(&self, problem: String) {
        self.teller.tell(|state| (state.phase, state.problem) = (Phase::Connecting, Some(problem)));
    }

    fn lock(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn identity(&self) -> Identity {
        self.lock().clone()
    }

    fn keep(&self, identity: Identity) {
        if let Err(error) = identity.save(&self.dir) {
            tracing::error!(error = chain(&error), "the node's identity is not kept on disk");
        }
        *self.lock() = identity;
    }

    /// Dials until a server answers, with a growing, jittered pause. `hello` is asked for anew at each attempt.
    pub async fn connect(&self, hello: impl Fn() -> Hello) -> (Link, Accepted) {
        let mut pause = PAUSE_MIN;
        let started = Instant::now();
        loop {
            let identity = self.identity();
            let wait = match Link::connect(&identity.addresses, &identity, hello()).await {
                Ok((link, accepted)) => {
                    if let Some(clock) = &self.clock {
                        clock.follow(accepted.server_time_ms);
                    }
                    self.teller.tell(|state| (state.phase, state.problem) = (Phase::Connected, None));
                    self.learn(&link, &accepted.servers);
                    return (link, accepted);
                }
                Err(error @ ConnectError::Refused { .. }) => {
                    tracing::error!(error = chain(&error), "the cluster does not take this node");
                    self.not_connected(chain(&error));
                    REFUSED_PAUSE
                }
                Err(error @ ConnectError::NotAdmitted { .. }) => {
                    tracing::warn!(error = chain(&error), "asking for a new certificate");
                    self.renew_ended(&identity).await;
                    pause
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "no connection to a server");
                    self.not_connected(chain(&error));
                    if started.elapsed() >= SEARCH_AFTER {
                        self.search().await;
                    }
                    pause
                }
            };
            tokio::time::sleep(wait.mul_f64(jitter())).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Looks for the cluster's servers on the LAN. Whoever answers has to show the CA that this node knows.
    async fn search(&self) {
        if !self.discovery {
            return;
        }
        let found = discovery::search(SEARCH).await.unwrap_or_default();
        let wanted = trust::key_hash(&self.lock().ca);
        let Some(ours) = found.into_iter().find(|one| Some(one.ca_hash) == wanted) else { return };
        let identity = &mut self.lock();
        // In memory only: what is true is learnt, and kept, from the server itself.
        identity.addresses = merge(&ours.addresses, &identity.addresses);
    }

    async fn renew_ended(&self, identity: &Identity) {
        match Link::renew_ended(identity).await {
            Ok(renewed) => self.keep(renewed),
            Err(error @ JoinError::Refused { .. }) => {
                tracing::error!(error = chain(&error), "the cluster does not take this node");
            }
            Err(error) => tracing::warn!(error = chain(&error), "the certificate cannot be renewed yet"),
        }
    }

    /// Remembers where servers are: on disk where the list changed, and the one that answered first in memory.
    fn learn(&self, link: &Link, servers: &[String]) {
        let identity = self.identity();
        let merged = merge(servers, &identity.addresses);
        if !servers.is_empty() && !same(&merged, &identity.addresses) {
            tracing::info!(?merged, "the servers' addresses changed");
            self.keep(Identity { addresses: merged, ..identity });
        }
        let answered = link.remote_address().to_string();
        let addresses = &mut self.lock().addresses;
        if let Some(at) = addresses.iter().position(|address| *address == answered) {
            addresses[..=at].rotate_right(1);
        }
    }

    /// Renews the certificate in time, over this session; never returns.
    pub async fn renewals(&self, link: &Link) {
        loop {
            let left = self.lock().renew_at_seconds().saturating_sub(trust::now_seconds());
            if left > 0 {
                tokio::time::sleep(Duration::from_secs(left).min(RENEW_LOOK_MAX)).await;
                continue;
            }
            match link.renew(&self.identity()).await {
                Ok(renewed) => {
                    tracing::info!(
                        ends = trust::end_seconds(&renewed.certificate),
                        "the node's certificate was renewed"
                    );
                    // The servers' addresses may have been learnt meanwhile.
                    let addresses = self.lock().addresses.clone();
                    self.keep(Identity { addresses, ..renewed });
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the node's certificate cannot be renewed yet");
                    tokio::time::sleep(RENEW_AGAIN.mul_f64(jitter())).await;
                }
            }
        }
    }
}

/// `servers`, then those of `old` that are not among them; but a server on this very machine comes first for good.
fn merge(servers: &[String], old: &[String]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    let local = old.iter().filter(|address| address.starts_with("127.") || address.starts_with("[::1]"));
    for address in local.chain(servers).chain(old) {
        if !merged.contains(address) && merged.len() < ADDRESSES_MAX {
            merged.push(address.clone());
        }
    }
    merged
}

/// In whatever order.
fn same(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().all(|address| other.contains(address))
}

/// Between a half and one.
pub fn jitter() -> f64 {
    let nanos = SystemClock.now().subsec_nanosecond().unsigned_abs() % 1000;
    0.5 + f64::from(nanos) / 2000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn present_servers_come_first_and_earlier_ones_are_kept_within_the_limit() {
        let old: Vec<String> = (0..8).map(|number| format!("10.0.0.{number}:6443")).collect();
        let merged = merge(&["10.0.0.9:6443".to_owned(), "10.0.0.3:6443".to_owned()], &old);
        assert_eq!(merged.len(), ADDRESSES_MAX);
        assert_eq!(merged[..3], ["10.0.0.9:6443", "10.0.0.3:6443", "10.0.0.0:6443"]);
        let local = merge(&["10.0.0.9:6443".to_owned()], &["127.0.0.1:6443".to_owned()]);
        assert_eq!(local, ["127.0.0.1:6443", "10.0.0.9:6443"]);
        assert!(same(&merge(&["10.0.0.3:6443".to_owned()], &old), &old));
    }
}
