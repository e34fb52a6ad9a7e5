//! The machine's clock was set: what is timed goes on as if it had always been so.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::delay::after;
use super::{Delay, Phase, Probing, Slot, Stage, State};

/// A time server that corrects the clock bit by bit does not set it.
const STEP_MIN: SignedDuration = SignedDuration::from_secs(2);
/// Twice the longest delay: what is due later was written by a clock that was wrong.
const WAIT_MAX: SignedDuration = SignedDuration::from_secs(600);

/// How far the machine's clock was set between two looks at it, each with one at a clock that nobody sets.
pub fn step_between(before: (Timestamp, Duration), now: (Timestamp, Duration)) -> Option<SignedDuration> {
    let passed = SignedDuration::try_from(now.1.saturating_sub(before.1)).ok()?;
    let by = now.0.duration_since(before.0).checked_sub(passed)?;
    (by.abs() >= STEP_MIN).then_some(by)
}

fn shift(time: &mut Timestamp, by: SignedDuration) {
    *time = time.saturating_add(by).unwrap_or(*time);
}

fn shift_some(time: &mut Option<Timestamp>, by: SignedDuration) {
    if let Some(time) = time {
        shift(time, by);
    }
}

impl State {
    /// Moves everything that the state waits for, and what it counts from.
    pub fn shift(&mut self, by: SignedDuration) {
        shift(&mut self.started, by);
        if let Stage::Delayed { until } = &mut self.stage {
            shift(until, by);
        }
        if let Some(stop) = &mut self.stop {
            shift(&mut stop.deadline, by);
        }
        self.setup.shift(by);
        for slot in &mut self.slots {
            slot.shift(by);
        }
    }

    /// Of a record: the clock may have been set since, by who knows how much.
    pub(super) fn wait_no_longer_than_plausible(&mut self, now: Timestamp) {
        let latest = now.saturating_add(WAIT_MAX).unwrap_or(Timestamp::MAX);
        if let Stage::Delayed { until } = &mut self.stage {
            *until = (*until).min(latest);
        }
        for slot in &mut self.slots {
            if let Phase::Waiting { until: Some(until), .. } = &mut slot.phase {
                *until = (*until).min(latest);
            }
        }
        if let Some(stop) = &mut self.stop {
            let latest = after(now, stop.grace_seconds);
            stop.deadline = stop.deadline.min(latest);
            self.slots.iter_mut().filter_map(|slot| slot.kill_at.as_mut()).for_each(|at| *at = (*at).min(latest));
        }
    }
}

impl Slot {
    fn shift(&mut self, by: SignedDuration) {
        match &mut self.phase {
            Phase::Waiting { until, .. } => shift_some(until, by),
            Phase::Running { since } => shift(since, by),
            Phase::Ended(ended) => {
                shift(&mut ended.finished_at, by);
                shift_some(&mut ended.started_at, by);
            }
        }
        self.crash.shift(by);
        self.pull.shift(by);
        shift_some(&mut self.kill_at, by);
        self.probing.iter_mut().for_each(|probing| probing.shift(by));
    }
}

impl Delay {
    fn shift(&mut self, by: SignedDuration) {
        shift_some(&mut self.counted_at, by);
    }
}

impl Probing {
    fn shift(&mut self, by: SignedDuration) {
        shift_some(&mut self.due_at, by);
    }
}
