//! How the machine's clock was set since the first server's start in this run of the machine. A Pi starts in 1970 and is
//! set forward by decades: what was written before was not written decades ago, so no Job has overrun its deadline by that.

mod file;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use file::StepsFile;

/// A time server that corrects the clock bit by bit sets nothing.
const STEP_MIN: SignedDuration = SignedDuration::from_secs(5);
/// What is written within a moment of a step may have the time before or after it.
const LEEWAY: SignedDuration = SignedDuration::from_secs(5);
/// Steps that are remembered.
const EPOCHS_MAX: usize = 64;

/// From one setting of the clock to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Epoch {
    /// By the clock that nobody sets.
    from: SignedDuration,
    /// What the machine's clock showed when the other was at zero.
    ahead: Timestamp,
}

impl Epoch {
    fn new(now: Timestamp, steady: Duration) -> Self {
        let from = SignedDuration::try_from(steady).unwrap_or(SignedDuration::MAX);
        Self { from, ahead: now.saturating_sub(from).unwrap_or(Timestamp::MIN) }
    }

    fn at(&self, steady: SignedDuration) -> Timestamp {
        self.ahead.saturating_add(steady).unwrap_or(Timestamp::MAX)
    }
}

/// The first is no step but the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps(Vec<Epoch>);

impl Steps {
    /// Whether the machine's clock, beside one that nobody sets, shows that it was set.
    pub fn is_news(&self, now: Timestamp, steady: Duration) -> bool {
        let ahead = Epoch::new(now, steady).ahead;
        self.0.last().is_none_or(|last| ahead.duration_since(last.ahead).abs() >= STEP_MIN)
    }

    /// Remembers that it was.
    pub fn add(&mut self, now: Timestamp, steady: Duration) {
        if self.0.len() >= EPOCHS_MAX {
            self.0.remove(0);
        }
        self.0.push(Epoch::new(now, steady));
    }

    /// What the clock would have shown at the time that was written as `time`, had it been set by then as it is now. Never
    /// later than `now`.
    pub fn corrected(&self, time: Timestamp, now: Timestamp) -> Timestamp {
        let Some(last) = self.0.last() else { return time };
        let mut end = now;
        for (index, epoch) in self.0.iter().enumerate().rev() {
            if let Some(next) = self.0.get(index + 1) {
                end = epoch.at(next.from);
            }
            let begin = epoch.at(epoch.from);
            if time.saturating_add(LEEWAY).is_ok_and(|late| late >= begin)
                && time.saturating_sub(LEEWAY).is_ok_and(|early| early <= end)
            {
                let by = last.ahead.duration_since(epoch.ahead);
                return time.saturating_add(by).unwrap_or(now).min(now);
            }
        }
        // Of before the first step that is known. What is yet to come was written by a clock that was wrong: since when, nobody
        // knows, but not for longer than this one is right.
        if time > now { last.at(last.from).min(now) } else { time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    /// True where it was set.
    fn see(steps: &mut Steps, now: i64, steady: u64) -> bool {
        let steady = Duration::from_secs(steady);
        let is_news = steps.is_news(at(now), steady);
        if is_news {
            steps.add(at(now), steady);
        }
        is_news
    }

    const THEN: i64 = 1_800_000_000;

    #[test]
    fn a_clock_that_is_set_makes_nothing_older_or_younger() {
        let mut steps = Steps::default();
        // 1970, then 2027, then 2060, then 2027.
        for (now, steady, step) in
            [(100, 50, true), (160, 110, false), (THEN, 120, true), (2_840_000_000, 130, true), (THEN + 20, 140, true)]
        {
            assert_eq!(see(&mut steps, now, steady), step, "{now}");
        }
        let now = at(THEN + 30);
        let age = |time: i64| now.duration_since(steps.corrected(at(time), now)).as_secs();
        assert_eq!(age(100), 100, "written in 1970");
        assert_eq!(age(160), 40);
        assert_eq!(age(2_840_000_000), 20, "written in 2060");
        assert_eq!([age(THEN), age(THEN + 20), age(THEN + 30)], [30, 10, 0]);
        assert_eq!(age(THEN - 86_400), 86_430, "of an earlier start, by a right clock");
        assert_eq!(age(THEN + 86_400), 10, "of an earlier start, by a wrong one");
    }

    #[test]
    fn a_clock_that_is_corrected_bit_by_bit_was_not_set() {
        let mut steps = Steps::default();
        see(&mut steps, THEN, 0);
        assert!(!see(&mut steps, THEN + 1004, 1000));
        assert_eq!(steps.corrected(at(THEN + 500), at(THEN + 1004)), at(THEN + 500));
    }

    #[test]
    fn steps_without_end_are_not_all_remembered() {
        let mut steps = Steps::default();
        for number in 0..1000 {
            see(&mut steps, THEN + 1000 * number, number.unsigned_abs());
        }
        assert_eq!(steps.0.len(), EPOCHS_MAX);
    }
}
