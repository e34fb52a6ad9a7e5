//! Stories of sidecars: init containers with `restartPolicy: Always`.

use super::*;

fn sidecar(name: &str, more: Value) -> Value {
    let mut container = json!({"name": name, "image": "x:1", "restartPolicy": "Always"});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

/// Two sidecars, and a main container that runs once.
fn two(first: Value) -> Story {
    Story::new(json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 20,
        "initContainers": [sidecar("s", first), sidecar("t", json!({}))],
        "containers": [{"name": "a", "image": "x:1"}]}))
}

fn signal(slot: usize, signal: Signal) -> Effect {
    Effect::Signal { container_id: ["s0", "t0", "a0"][slot].to_owned(), slot, signal }
}

#[test]
fn what_follows_a_sidecar_waits_for_its_startup_probe() {
    let mut story = two(json!({"startupProbe": {"exec": {"command": ["x"]}}}));
    story.up().run(0, "s0");
    assert!(!story.asks(&Effect::EnsureImage { slot: 1 }));
    assert_eq!(story.condition("Initialized").1, "ContainersNotInitialized containers with incomplete status: [s t]");
    story.on(Event::Probed { container_id: "s0".to_owned(), kind: ProbeKind::Startup, outcome: Outcome::Success });
    assert!(story.asks(&Effect::EnsureImage { slot: 1 }));
    assert!(story.run(1, "t0").asks(&Effect::EnsureImage { slot: 2 }));
    assert_eq!(story.run(2, "a0").status()["phase"], "Running");
    assert_eq!(story.condition("Ready").0, "True");
}

#[test]
fn a_sidecar_restarts_whatever_the_pod_s_policy_is_and_holds_nobody_up_then() {
    let mut story = two(json!({}));
    story.up().run(0, "s0").run(1, "t0").run(2, "a0").exit("s0", 1);
    assert!(story.asks(&Effect::EnsureImage { slot: 0 }));
    assert_eq!(story.condition("Initialized").0, "True");
    assert_eq!(story.condition("Ready").1, "ContainersNotReady containers with unready status: [s]");
    assert_eq!(story.status()["phase"], "Running");
}

#[test]
fn sidecars_end_after_the_main_containers_the_last_one_first() {
    let mut story = two(json!({}));
    story.up().run(0, "s0").run(1, "t0").run(2, "a0").exit("a0", 0);
    assert!(story.asks(&signal(1, Signal::Stop)) && !story.asks(&signal(0, Signal::Stop)));
    assert_eq!(story.status()["phase"], "Running", "a pod is not done while a sidecar runs");
    assert_eq!(story.condition("Ready").1, "PodCompleted");
    assert!(story.exit("t0", 143).asks(&signal(0, Signal::Stop)));
    assert!(story.exit("s0", 1).asks(&Effect::TearDown));
    assert_eq!(story.status()["phase"], "Succeeded");
}

#[test]
fn a_sidecar_s_hook_waits_for_no_turn_and_its_signal_for_the_deadline_at_most() {
    let mut story = two(json!({"lifecycle": {"preStop": {}}}));
    story.up().run(0, "s0").run(1, "t0").run(2, "a0");
    story.pod.metadata.deletion_timestamp = Some(control_api::view::Time(at(20)));
    story.pod.metadata.deletion_grace_period_seconds = Some(20);
    story.on(Event::Changed);
    let hook = HookKind::PreStop;
    assert!(story.asks(&Effect::Hook { container_id: "s0".to_owned(), slot: 0, hook, deadline: Some(at(20)) }));
    assert!(story.asks(&signal(2, Signal::Stop)) && !story.asks(&signal(1, Signal::Stop)));
    story.on(Event::Hooked { container_id: "s0".to_owned(), hook, succeeded: true });
    assert!(!story.asks(&signal(0, Signal::Stop)));
    story.later(20);
    assert!(story.asks(&signal(2, Signal::Kill)));
    for slot in [0, 1] {
        assert!(story.asks(&signal(slot, Signal::Stop)) && !story.asks(&signal(slot, Signal::Kill)));
    }
    story.later(2);
    assert!(story.asks(&signal(0, Signal::Kill)) && story.asks(&signal(1, Signal::Kill)));
}
