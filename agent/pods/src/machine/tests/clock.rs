//! Stories of a machine whose clock is set while a pod lives.

use jiff::SignedDuration;

use super::*;

/// From 1970 to this century and back.
const DECADES_SECONDS: i64 = 1_800_000_000;

impl Story {
    /// The machine's clock is set by `seconds`, and nothing else happens.
    fn set_clock(&mut self, seconds: i64) -> &mut Self {
        self.state.shift(SignedDuration::from_secs(seconds));
        self.now += seconds;
        self.on(Event::Tick)
    }
}

/// One that has crashed twice and waits ten seconds.
fn crashing() -> Story {
    let mut story = Story::new(one());
    story.up().run(0, "c0").exit("c0", 1).run(0, "c1").exit("c1", 1);
    assert_eq!(story.status()["containerStatuses"][0]["state"]["waiting"]["reason"], "CrashLoopBackOff");
    story
}

#[test]
fn a_back_off_takes_as_long_as_it_takes_whatever_the_clock_is_set_to() {
    for decades in [DECADES_SECONDS, -DECADES_SECONDS] {
        let mut story = crashing();
        story.set_clock(decades);
        assert!(!story.asks(&Effect::EnsureImage { slot: 0 }), "not before its time");
        story.later(11);
        assert!(story.asks(&Effect::EnsureImage { slot: 0 }), "{decades}");
    }
}

#[test]
fn a_deadline_and_a_grace_count_from_where_they_began() {
    let mut spec = one();
    spec["activeDeadlineSeconds"] = json!(100);
    let mut story = Story::new(spec);
    story.up().run(0, "c0");
    story.set_clock(DECADES_SECONDS);
    assert!(story.state.failure.is_none() && story.state.stop.is_none(), "the pod is not decades old");
    story.later(101);
    assert_eq!(story.state.failure.as_ref().map(|failure| failure.reason.as_str()), Some("DeadlineExceeded"));
    story.set_clock(-DECADES_SECONDS).later(31);
    assert!(story.state.slots[0].killed, "the grace of 30 s is over");
}

#[test]
fn what_an_earlier_agent_recorded_by_a_wrong_clock_is_not_waited_for() {
    let mut story = crashing();
    story.now -= DECADES_SECONDS;
    story.on(Event::Begin { found: Some(Vec::new()) }).later(601);
    assert!(story.asks(&Effect::EnsureImage { slot: 0 }));
}

#[test]
fn a_step_of_the_clock_is_told_from_time_that_passes() {
    let seen = |seconds: i64, steady: u64| (at(seconds), std::time::Duration::from_secs(steady));
    assert_eq!(step_between(seen(0, 0), seen(1001, 1000)), None);
    let by = |seconds| Some(SignedDuration::from_secs(seconds));
    assert_eq!(step_between(seen(0, 0), seen(1100, 1000)), by(100));
    assert_eq!(step_between(seen(0, 0), seen(-5000, 1000)), by(-6000));
}
