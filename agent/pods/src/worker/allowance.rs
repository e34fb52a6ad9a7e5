//! How many Events a pod may have: as the kubelet, 25 at once and then one in five minutes. A pod that is never ready
//! must not wear a card out by saying so.

use jiff::Timestamp;

const EVENTS_MAX: u32 = 25;
const REFILL_SECONDS: i64 = 300;

#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    refilled_at: Timestamp,
}

impl Allowance {
    pub fn new(now: Timestamp) -> Self {
        Self { left: EVENTS_MAX, refilled_at: now }
    }

    /// Whether one more Event may be told now.
    pub fn take(&mut self, now: Timestamp) -> bool {
        let passed = now.duration_since(self.refilled_at).as_secs();
        // A clock that was set back: counted from its new time.
        if passed < 0 {
            self.refilled_at = now;
        }
        let refills = passed.max(0) / REFILL_SECONDS;
        if refills > 0 {
            let whole = u32::try_from(refills).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(whole).min(EVENTS_MAX);
            self.refilled_at = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_never_stops_complaining_is_heard_every_five_minutes() {
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).expect("a time");
        let mut allowance = Allowance::new(at(0));
        let told = (0..3600).filter(|second| allowance.take(at(*second))).count();
        assert_eq!(told, 25 + 11);
        let mut again = (10_000..11_000).filter(|second| allowance.take(at(*second))).count();
        assert!((21..26).contains(&again), "{again} after a quiet time");
        again = (0..1000).filter(|second| allowance.take(at(*second))).count();
        assert!((3..5).contains(&again), "{again} with a clock that was set back");
    }
}
