//! Stories of lifecycle hooks.

use control_api::view::Time;

use super::*;

fn hooked(lifecycle: Value) -> Story {
    let container = json!({"name": "a", "image": "x:1", "lifecycle": lifecycle,
        "readinessProbe": {"periodSeconds": 1}});
    let mut story = Story::new(json!({"terminationGracePeriodSeconds": 20, "containers": [container]}));
    story.up().run(0, "c0");
    story
}

fn hook(hook: HookKind, deadline: Option<i64>) -> Effect {
    Effect::Hook { container_id: "c0".to_owned(), slot: 0, hook, deadline: deadline.map(at) }
}

fn signal(signal: Signal) -> Effect {
    Effect::Signal { container_id: "c0".to_owned(), slot: 0, signal }
}

fn probes(story: &Story) -> bool {
    story.effects.iter().any(|effect| matches!(effect, Effect::Probe { .. }))
}

impl Story {
    fn done(&mut self, hook: HookKind, succeeded: bool) -> &mut Self {
        self.on(Event::Hooked { container_id: "c0".to_owned(), hook, succeeded })
    }

    fn delete(&mut self, grace_seconds: i64) -> &mut Self {
        self.pod.metadata.deletion_timestamp = Some(Time(at(self.now + grace_seconds)));
        self.pod.metadata.deletion_grace_period_seconds = Some(grace_seconds);
        self.on(Event::Changed)
    }
}

#[test]
fn a_container_is_not_running_until_post_start_is_done() {
    let mut story = hooked(json!({"postStart": {}}));
    assert!(story.asks(&hook(HookKind::PostStart, None)));
    assert!(!probes(&story));
    let status = story.status();
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    story.done(HookKind::PostStart, true);
    assert_eq!(story.status()["phase"], "Running");
    assert!(probes(&story));
}

#[test]
fn a_failed_post_start_kills_the_container() {
    let mut story = hooked(json!({"postStart": {}, "preStop": {}}));
    story.done(HookKind::PostStart, false);
    assert_eq!(story.notes(), ["FailedPostStartHook: PostStartHook failed", "Killing: FailedPostStartHook"]);
    assert!(story.asks(&hook(HookKind::PreStop, Some(20))));
    assert!(story.done(HookKind::PreStop, true).asks(&signal(Signal::Stop)));
    assert!(story.exit("c0", 143).asks(&Effect::EnsureImage { slot: 0 }));
    assert_eq!(story.state.slots[0].made, 1);
}

#[test]
fn pre_stop_comes_before_the_signal_and_within_the_grace() {
    let mut story = hooked(json!({"preStop": {}}));
    story.delete(10);
    assert!(story.asks(&hook(HookKind::PreStop, Some(10))) && !story.asks(&signal(Signal::Stop)));
    assert_eq!(story.notes(), ["Killing: Stopping container a"]);
    assert!(!story.later(4).asks(&signal(Signal::Stop)));
    story.done(HookKind::PreStop, false);
    assert_eq!(story.notes(), ["FailedPreStopHook: PreStopHook failed"]);
    assert!(story.asks(&signal(Signal::Stop)) && story.asks(&Effect::WakeAt(at(10))));
    assert!(story.later(6).asks(&signal(Signal::Kill)), "both count");
}

#[test]
fn a_pre_stop_that_uses_the_grace_up_leaves_two_seconds() {
    let mut story = hooked(json!({"preStop": {}}));
    story.delete(10).later(9);
    assert!(!story.asks(&signal(Signal::Stop)));
    assert!(story.later(1).asks(&signal(Signal::Stop)) && !story.asks(&signal(Signal::Kill)));
    // The pod's own status coming back must not take them away.
    assert!(!story.on(Event::Changed).asks(&signal(Signal::Kill)));
    assert!(!story.done(HookKind::PreStop, false).asks(&signal(Signal::Stop)), "too late to matter");
    assert!(story.later(2).asks(&signal(Signal::Kill)));
}

#[test]
fn a_deletion_without_grace_runs_no_hook() {
    let mut story = hooked(json!({"preStop": {}}));
    story.delete(0);
    assert!(story.asks(&signal(Signal::Kill)) && !story.asks(&signal(Signal::Stop)));
    let mut story = hooked(json!({"preStop": {}}));
    story.delete(30).later(1).delete(0);
    assert!(story.asks(&signal(Signal::Kill)), "nor does it wait for one");
}

#[test]
fn a_restarted_agent_runs_no_post_start_twice_and_a_pre_stop_again() {
    let state = FoundState::Running { since: at(0) };
    let found = found("c0", state);
    let begin = Event::Begin { found: Some(vec![found]) };
    let mut story = hooked(json!({"postStart": {}}));
    story.on(begin.clone());
    assert!(!story.effects.iter().any(|effect| matches!(effect, Effect::Hook { .. })));
    assert_eq!(story.status()["phase"], "Running");

    let mut story = hooked(json!({"preStop": {}}));
    story.delete(10).later(3).on(begin);
    assert!(story.asks(&hook(HookKind::PreStop, Some(10))));
    assert!(story.done(HookKind::PreStop, true).asks(&signal(Signal::Stop)));
}

#[test]
fn a_container_whose_start_was_not_heard_of_gets_its_post_start() {
    let container = json!({"name": "a", "image": "x:1", "lifecycle": {"postStart": {}}});
    let mut story = Story::new(json!({"containers": [container]}));
    story.up().image(0);
    let state = FoundState::Running { since: at(0) };
    let found = found("c0", state);
    assert!(story.on(Event::Begin { found: Some(vec![found]) }).asks(&hook(HookKind::PostStart, None)));
}
