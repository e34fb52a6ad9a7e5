//! What is to be done, each key once: a pure structure, driven by the loop that owns it.
//!
//! A key is *waiting* (in line), *running* (handed out), running and *dirty* (something happened meanwhile: it goes
//! back in line when it is done), or *delayed* (back in line at an instant). Nothing here sleeps: the loop asks for
//! [`Queue::deadline`] and sets one timer, or none when nothing is delayed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The first delay after a failure; doubled by each further failure of the same key.
const BACKOFF_MS_MIN: u64 = 5;
/// The longest delay after a failure.
const BACKOFF_MS_MAX: u64 = 300_000;
/// Beyond so many doublings the delay is at its maximum anyway.
const DOUBLINGS_MAX: u32 = 20;

/// What became of a key that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Look again after a while, though nothing failed.
    After(Duration),
    /// Try again, later each time.
    Failed,
}

/// Bounded by the number of distinct keys, that is by the store's objects.
#[derive(Debug)]
pub struct Queue<K> {
    line: VecDeque<K>,
    waiting: HashSet<K>,
    running: HashMap<K, bool>,
    delayed: BTreeMap<(Instant, u64), K>,
    delays: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    serial: u64,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            line: VecDeque::new(),
            waiting: HashSet::new(),
            running: HashMap::new(),
            delayed: BTreeMap::new(),
            delays: HashMap::new(),
            failures: HashMap::new(),
            serial: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Puts a key in line, unless it is there; a running key is marked dirty.
    pub fn add(&mut self, key: K) {
        if let Some(dirty) = self.running.get_mut(&key) {
            *dirty = true;
        } else if self.waiting.insert(key.clone()) {
            self.line.push_back(key);
        }
    }

    /// Puts a key in line after `delay`; a later call replaces an earlier one.
    pub fn add_after(&mut self, key: K, now: Instant, delay: Duration) {
        self.forget_delay(&key);
        self.serial += 1;
        let at = (now + delay, self.serial);
        self.delayed.insert(at, key.clone());
        self.delays.insert(key, at);
    }

    /// Hands out the next key; it comes again only after [`Queue::finish`].
    pub fn take(&mut self, now: Instant) -> Option<K> {
        self.wake(now);
        let key = self.line.pop_front()?;
        self.waiting.remove(&key);
        self.forget_delay(&key);
        self.running.insert(key.clone(), false);
        Some(key)
    }

    /// Takes a key back.
    pub fn finish(&mut self, key: K, outcome: Outcome, now: Instant) {
        let dirty = self.running.remove(&key).unwrap_or(false);
        let delay = match outcome {
            Outcome::Done => {
                self.failures.remove(&key);
                None
            }
            Outcome::After(delay) => {
                self.failures.remove(&key);
                Some(delay)
            }
            Outcome::Failed => {
                let failures = self.failures.entry(key.clone()).or_default();
                let delay = backoff(*failures);
                *failures = failures.saturating_add(1);
                Some(delay)
            }
        };
        if dirty && outcome != Outcome::Failed {
            self.add(key.clone());
        }
        if let Some(delay) = delay {
            self.add_after(key, now, delay);
        }
    }

    /// When the first delayed key is due; with none there is nothing to wake up for.
    pub fn deadline(&self) -> Option<Instant> {
        self.delayed.keys().next().map(|(at, _)| *at)
    }

    /// Whether nothing is in line or running; delayed keys do not count.
    pub fn is_idle(&self) -> bool {
        self.line.is_empty() && self.running.is_empty()
    }

    fn wake(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.delays.remove(&key);
            self.add(key);
        }
    }

    fn forget_delay(&mut self, key: &K) {
        if let Some(at) = self.delays.remove(key) {
            self.delayed.remove(&at);
        }
    }
}

fn backoff(failures: u32) -> Duration {
    let delay_ms = BACKOFF_MS_MIN << failures.min(DOUBLINGS_MAX);
    Duration::from_millis(delay_ms.min(BACKOFF_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_added_twice_is_handed_out_once() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.take(now), Some("a"));
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn a_key_that_changed_while_running_comes_again_after_it_is_finished() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.add("a");
        assert_eq!(queue.take(now), Some("a"));
        queue.add("a");
        assert_eq!(queue.take(now), None);
        queue.finish("a", Outcome::Done, now);
        assert_eq!(queue.take(now), Some("a"));
    }

    #[test]
    fn failures_wait_longer_each_time_and_success_forgets_them() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for expected_ms in [5, 10, 20] {
            queue.add("a");
            queue.take(now);
            queue.finish("a", Outcome::Failed, now);
            assert_eq!(queue.deadline(), Some(now + Duration::from_millis(expected_ms)));
        }
        queue.add("a");
        queue.take(now);
        queue.finish("a", Outcome::Done, now);
        assert_eq!(queue.deadline(), None);
        assert_eq!(backoff(u32::MAX), Duration::from_millis(BACKOFF_MS_MAX));
    }

    #[test]
    fn a_delayed_key_is_in_line_when_it_is_due_and_an_idle_queue_needs_no_timer() {
        let mut queue = Queue::default();
        let now = Instant::now();
        assert_eq!(queue.deadline(), None);
        queue.add_after("a", now, Duration::from_secs(9));
        queue.add_after("a", now, Duration::from_secs(3));
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.take(now + Duration::from_secs(3)), Some("a"));
        assert_eq!(queue.deadline(), None);
    }
}
