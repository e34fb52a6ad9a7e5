//! Growing delays: 10 s, 20 s, 40 s, to 300 s, and back to 10 s after ten quiet minutes.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

const SECONDS_FIRST: i64 = 10;
const SECONDS_MAX: i64 = 300;
/// Twice the longest delay without a failure counts as health.
const QUIET_SECONDS: i64 = 2 * SECONDS_MAX;

/// How long the next failure is waited out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// Zero until the first failure.
    pub seconds: i64,
    pub counted_at: Option<Timestamp>,
}

impl Delay {
    /// The delay in force for something that failed at `at`; zero when there is none yet.
    pub fn current(&self, at: Timestamp) -> i64 {
        let quiet = self.counted_at.is_none_or(|counted| at.duration_since(counted).as_secs() > QUIET_SECONDS);
        if quiet { 0 } else { self.seconds }
    }

    /// Counts one more try at `at`, and gives the delay that its failure will have.
    pub fn grow(&mut self, at: Timestamp) -> i64 {
        self.seconds = match self.current(at) {
            0 => SECONDS_FIRST,
            seconds => (seconds * 2).min(SECONDS_MAX),
        };
        self.counted_at = Some(at);
        self.seconds
    }

    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

pub(super) fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// Whole seconds as Go writes a duration: `10s`, `1m20s`, `5m0s`.
pub fn words(seconds: i64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}
