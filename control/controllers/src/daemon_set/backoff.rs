//! A pod that fails again and again on a node is made anew ever later.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// As in Kubernetes: the first pause, doubled by each further failure, and the longest one.
const SECONDS_MIN: i64 = 1;
const SECONDS_MAX: i64 = 15 * 60;
/// Pairs of DaemonSet and node remembered; with more, those that have not failed for the longest time are forgotten.
const PAIRS_MAX: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Pause {
    seconds: i64,
    since: i64,
}

/// The one thing that controllers remember beside the store: losing it only makes a pod come sooner.
#[derive(Default)]
pub(super) struct Backoff {
    pauses: Mutex<HashMap<(String, String), Pause>>,
}

impl Backoff {
    /// The seconds still to wait before the pod of `uid` on `node` may be replaced; with none left, the next pause
    /// begins.
    pub fn ask(&self, uid: &str, node: &str, now: Timestamp) -> Option<i64> {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now.as_second();
        let key = (uid.to_owned(), node.to_owned());
        // A clock that was set back: counted from its new time.
        let last = pauses.get_mut(&key).map(|pause| {
            pause.since = pause.since.min(now);
            *pause
        });
        if let Some(left) = last.map(|pause| pause.since + pause.seconds - now).filter(|left| *left > 0) {
            return Some(left);
        }
        // A pod that held out for twice the longest pause has recovered.
        let seconds = match last.filter(|pause| now - pause.since <= 2 * SECONDS_MAX) {
            Some(pause) => (pause.seconds * 2).min(SECONDS_MAX),
            None => SECONDS_MIN,
        };
        if pauses.len() >= PAIRS_MAX && !pauses.contains_key(&key) {
            pauses.retain(|_, pause| now - pause.since <= SECONDS_MAX);
            if let Some(oldest) = pauses.iter().min_by_key(|(_, pause)| pause.since).map(|(key, _)| key.clone())
                && pauses.len() >= PAIRS_MAX
            {
                pauses.remove(&oldest);
            }
        }
        pauses.insert(key, Pause { seconds, since: now });
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_twice_as_long() {
        let backoff = Backoff::default();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(backoff.ask("u", "n", at(100)), None);
        assert_eq!(backoff.ask("u", "n", at(100)), Some(1));
        assert_eq!(backoff.ask("u", "n", at(101)), None);
        assert_eq!(backoff.ask("u", "n", at(101)), Some(2));
        assert_eq!(backoff.ask("u", "m", at(101)), None);
        assert_eq!(backoff.ask("u", "n", at(101 + 3600)), None);
        assert_eq!(backoff.ask("u", "n", at(101 + 3600)), Some(1));
    }
}
