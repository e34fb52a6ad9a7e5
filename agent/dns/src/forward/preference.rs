//! Which upstream is asked first.
//!
//! The first that is named, as the C library does: it may be the only one that knows the names of the LAN. Where another
//! had to help out, that one is first for a while, so that not every question waits for a silent server.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one that helped out stays first.
const HELPED_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Preference(Mutex<Option<(usize, Instant)>>);

impl Preference {
    /// The place in the list to begin with.
    pub fn first(&self, now: Instant) -> usize {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((place, end)) if now < end => place,
            _ => 0,
        }
    }

    /// The one at `place` answered. One that is first already does not stay so for longer.
    pub fn answered(&self, place: usize, now: Instant) {
        if self.first(now) != place {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((place, now + HELPED_TIME_MAX));
        }
    }

    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_helped_out_is_first_for_a_while_only() {
        let (preference, now) = (Preference::default(), Instant::now());
        preference.answered(2, now);
        assert_eq!(preference.first(now), 2);
        let later = now + HELPED_TIME_MAX - Duration::from_secs(1);
        preference.answered(2, later);
        assert_eq!(preference.first(later), 2);
        assert_eq!(preference.first(now + HELPED_TIME_MAX), 0);
        preference.answered(1, now);
        preference.forget();
        assert_eq!(preference.first(now), 0);
    }
}
