//! Stories of probes.

use super::*;

fn container(probes: Value) -> Value {
    let mut container = json!({"name": "a", "image": "x:1"});
    container.as_object_mut().unwrap().append(&mut probes.as_object().unwrap().clone().into_iter().collect());
    json!({"containers": [container]})
}

fn running(probes: Value) -> Story {
    let mut story = Story::new(container(probes));
    story.up().run(0, "c0");
    story
}

fn asked(kind: ProbeKind) -> Effect {
    Effect::Probe { container_id: "c0".to_owned(), slot: 0, kind }
}

impl Story {
    fn says(&mut self, kind: ProbeKind, outcome: Outcome) -> &mut Self {
        let container_id = self.state.slots[0].container_id.clone().unwrap();
        self.on(Event::Probed { container_id, kind, outcome })
    }

    fn fails(&mut self, kind: ProbeKind) -> &mut Self {
        self.says(kind, Outcome::Failure("no".to_owned()))
    }

    /// Lets time pass until the probe is asked for; how long that took.
    fn until(&mut self, kind: ProbeKind) -> i64 {
        let begun = self.now;
        while !self.effects.iter().any(|effect| matches!(effect, Effect::Probe { kind: one, .. } if *one == kind)) {
            assert!(self.now - begun < 100, "{kind:?} is not asked for");
            self.later(1);
        }
        self.now - begun
    }

    fn container_status(&self) -> Value {
        self.status()["containerStatuses"][0].clone()
    }
}

#[test]
fn a_pod_without_probes_is_ready_at_once_and_wakes_for_nothing() {
    let story = running(json!({}));
    assert!(!story.effects.iter().any(|effect| matches!(effect, Effect::WakeAt(_) | Effect::Probe { .. })));
    assert_eq!(
        (&story.container_status()["ready"], &story.container_status()["started"]),
        (&json!(true), &json!(true))
    );
}

#[test]
fn readiness_is_false_until_the_first_success_and_asked_every_period() {
    let mut story = running(json!({"readinessProbe": {"initialDelaySeconds": 4, "periodSeconds": 10}}));
    assert!(story.asks(&Effect::WakeAt(at(4))));
    assert_eq!(
        (&story.container_status()["ready"], &story.container_status()["started"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(story.condition("Ready").1, "ContainersNotReady containers with unready status: [a]");
    assert!(!story.later(3).asks(&asked(ProbeKind::Readiness)));
    assert!(story.later(1).asks(&asked(ProbeKind::Readiness)));
    story.fails(ProbeKind::Readiness);
    assert_eq!(story.notes(), ["Unhealthy: Readiness probe failed: no"]);
    assert!(story.asks(&Effect::WakeAt(at(14))));
    assert!(story.later(10).asks(&asked(ProbeKind::Readiness)));
    story.says(ProbeKind::Readiness, Outcome::Success);
    assert_eq!(story.condition("ContainersReady").0, "True");
    assert_eq!(story.condition("Ready").0, "True");
}

#[test]
fn thresholds_count_answers_in_a_row_and_what_changes_nothing_is_not_recorded() {
    let mut story = running(json!({"readinessProbe":
        {"periodSeconds": 1, "successThreshold": 2, "failureThreshold": 3}}));
    for (success, ready) in [
        (true, false),
        (false, false),
        (true, false),
        (true, true),
        (true, true),
        (false, true),
        (false, true),
        (true, true),
        (false, true),
        (false, true),
        (false, false),
        (false, false),
        (true, false),
        (true, true),
    ] {
        story.until(ProbeKind::Readiness);
        let before = story.state.clone();
        story.says(ProbeKind::Readiness, if success { Outcome::Success } else { Outcome::Failure(String::new()) });
        assert_eq!(story.state.slots[0].is_ready(), ready);
        let same = before.slots[0].ready == ready;
        assert_eq!(story.state.is_recorded_as(&before), same);
    }
    let record = serde_json::to_string(&story.state).unwrap();
    assert!(!record.contains("probing"), "{record}");
}

#[test]
fn an_error_and_a_warning_are_told_and_count_for_nothing_and_for_a_success() {
    let mut story = running(json!({"readinessProbe": {"periodSeconds": 1, "failureThreshold": 1}}));
    story.says(ProbeKind::Readiness, Outcome::Warning("moved".to_owned()));
    assert_eq!(story.notes(), ["ProbeWarning: Readiness probe warning: moved"]);
    assert!(story.state.slots[0].is_ready());
    story.until(ProbeKind::Readiness);
    story.says(ProbeKind::Readiness, Outcome::Error("no runtime".to_owned()));
    let text = "Unhealthy: Readiness probe errored and resulted in unknown state: no runtime";
    assert_eq!(story.notes(), [text]);
    assert!(story.state.slots[0].is_ready());
}

#[test]
fn a_failed_liveness_probe_kills_with_its_own_grace_and_restarts() {
    let mut story = running(json!({"livenessProbe":
        {"periodSeconds": 10, "failureThreshold": 2, "terminationGracePeriodSeconds": 5}}));
    assert!(story.until(ProbeKind::Liveness) <= 10, "somewhere in the first period");
    assert_eq!(story.fails(ProbeKind::Liveness).notes(), ["Unhealthy: Liveness probe failed: no"]);
    assert!(story.until(ProbeKind::Liveness) <= 10);
    story.fails(ProbeKind::Liveness);
    let words = "Killing: Container a failed liveness probe, will be restarted";
    assert_eq!(story.notes(), ["Unhealthy: Liveness probe failed: no", words]);
    let signal = |signal| Effect::Signal { container_id: "c0".to_owned(), slot: 0, signal };
    assert!(story.asks(&signal(Signal::Stop)));
    assert!(!story.later(4).asks(&signal(Signal::Kill)));
    assert!(story.later(1).asks(&signal(Signal::Kill)));
    assert!(!story.later(60).effects.iter().any(|effect| matches!(effect, Effect::Probe { .. })), "on hold");
    assert!(story.exit("c0", 137).asks(&Effect::EnsureImage { slot: 0 }));
    story.run(0, "c1");
    assert_eq!(story.container_status()["restartCount"], 1);
    story.until(ProbeKind::Liveness);
    story.fails(ProbeKind::Liveness);
    assert_eq!(story.notes().len(), 1, "a new container is counted anew");
}

#[test]
fn the_restart_policy_has_the_last_word_but_not_the_exit_code() {
    for (policy, restarts, words) in [("OnFailure", true, ", will be restarted"), ("Never", false, "")] {
        let mut spec = container(json!({"livenessProbe": {"periodSeconds": 1, "failureThreshold": 1}}));
        spec["restartPolicy"] = json!(policy);
        let mut story = Story::new(spec);
        story.up().run(0, "c0").until(ProbeKind::Liveness);
        story.fails(ProbeKind::Liveness);
        assert_eq!(story.notes()[1], format!("Killing: Container a failed liveness probe{words}"));
        story.exit("c0", 0);
        assert_eq!(story.asks(&Effect::EnsureImage { slot: 0 }), restarts, "{policy}");
    }
}

#[test]
fn a_startup_probe_holds_the_others_back() {
    let mut story = running(json!({
        "startupProbe": {"periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {"periodSeconds": 5}, "readinessProbe": {"periodSeconds": 5}}));
    assert_eq!(
        (&story.container_status()["ready"], &story.container_status()["started"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(story.status()["phase"], "Running");
    story.until(ProbeKind::Startup);
    assert!(!story.later(30).effects.iter().any(|effect| matches!(effect, Effect::Probe { .. })), "one at a time");
    story.fails(ProbeKind::Startup).until(ProbeKind::Startup);
    story.says(ProbeKind::Startup, Outcome::Success);
    assert_eq!(
        (&story.container_status()["ready"], &story.container_status()["started"]),
        (&json!(false), &json!(true))
    );
    assert!(story.asks(&asked(ProbeKind::Readiness)), "at once");
    story.until(ProbeKind::Liveness);
    assert!(!story.asks(&asked(ProbeKind::Startup)));

    let mut story = running(json!({"startupProbe": {"periodSeconds": 1, "failureThreshold": 2}}));
    story.until(ProbeKind::Startup);
    story.fails(ProbeKind::Startup).until(ProbeKind::Startup);
    story.fails(ProbeKind::Startup);
    assert_eq!(story.notes()[1], "Killing: Container a failed startup probe, will be restarted");
}

#[test]
fn a_pod_that_ends_is_asked_for_its_readiness_alone() {
    let mut story = running(json!({"livenessProbe": {"periodSeconds": 1}, "readinessProbe": {"periodSeconds": 1}}));
    story.says(ProbeKind::Readiness, Outcome::Success);
    story.pod.metadata.deletion_timestamp = Some(control_api::view::Time(at(30)));
    story.pod.metadata.deletion_grace_period_seconds = Some(30);
    story.on(Event::Changed);
    assert_eq!(story.container_status()["ready"], true, "an endpoint that still serves");
    for _ in 0..3 {
        assert!(story.later(1).asks(&asked(ProbeKind::Readiness)));
        assert!(!story.asks(&asked(ProbeKind::Liveness)));
        story.fails(ProbeKind::Readiness);
    }
    assert_eq!(story.container_status()["ready"], false);
    story.on(Event::Halt);
    assert!(!story.later(1).asks(&asked(ProbeKind::Readiness)), "a node that stops tells nothing");
}

#[test]
fn a_restarted_agent_does_not_probe_what_runs_as_new() {
    let mut story = running(json!({"startupProbe": {"periodSeconds": 10}, "readinessProbe": {"periodSeconds": 10}}));
    story.until(ProbeKind::Startup);
    story.says(ProbeKind::Startup, Outcome::Success).says(ProbeKind::Readiness, Outcome::Success);
    let record = serde_json::to_vec(&story.state).unwrap();
    story.state = serde_json::from_slice(&record).unwrap();
    let state = FoundState::Running { since: at(0) };
    let found = found("c0", state);
    story.on(Event::Begin { found: Some(vec![found]) });
    assert_eq!(
        (&story.container_status()["ready"], &story.container_status()["started"]),
        (&json!(true), &json!(true))
    );
    story.until(ProbeKind::Readiness);
    assert!(!story.asks(&asked(ProbeKind::Startup)));
}

#[test]
fn probes_of_an_older_container_and_too_many_at_a_time_are_passed_over() {
    let containers: Vec<Value> = (0..10)
        .map(|n| json!({"name": format!("c{n}"), "image": "x:1", "readinessProbe": {"periodSeconds": 5}}))
        .collect();
    let mut story = Story::new(json!({"containers": containers}));
    story.up();
    let mut probes = 0;
    for slot in 0..10 {
        story.run(slot, &format!("id{slot}"));
        probes += story.effects.iter().filter(|effect| matches!(effect, Effect::Probe { .. })).count();
    }
    assert_eq!(probes, 8);
    story.on(Event::Probed { container_id: "old".to_owned(), kind: ProbeKind::Readiness, outcome: Outcome::Success });
    assert_eq!(story.effects.iter().filter(|effect| matches!(effect, Effect::Probe { .. })).count(), 0);
    story.on(Event::Probed { container_id: "id0".to_owned(), kind: ProbeKind::Readiness, outcome: Outcome::Success });
    assert!(story.asks(&Effect::Probe { container_id: "id8".to_owned(), slot: 8, kind: ProbeKind::Readiness }));
}

#[test]
fn a_clock_that_is_set_back_silences_no_probe() {
    let mut story = running(json!({"readinessProbe": {"periodSeconds": 10}}));
    story.says(ProbeKind::Readiness, Outcome::Success);
    story.now = -500_000;
    story.on(Event::Tick);
    assert!(story.asks(&Effect::WakeAt(at(story.now + 10))));
    assert!(story.later(10).asks(&asked(ProbeKind::Readiness)));
}

#[test]
fn a_gate_is_met_by_a_condition_that_others_set() {
    let mut story = Story::new(json!({"readinessGates": [{"conditionType": "example.com/lb"}],
        "containers": [{"name": "a", "image": "x:1"}]}));
    story.up().run(0, "c0");
    let missing = "corresponding condition of pod readiness gate \"example.com/lb\" does not exist.";
    assert_eq!(story.condition("Ready").1, format!("ReadinessGatesNotReady {missing}"));
    for (status, ready) in [("False", "False"), ("True", "True")] {
        let conditions = json!({"conditions": [{"type": "example.com/lb", "status": status}]});
        story.pod.status = serde_json::from_value(conditions).unwrap();
        assert_eq!(story.condition("Ready").0, ready);
    }
    let list = story.status()["conditions"].as_array().unwrap().len();
    assert_eq!(list, 5, "what others set is theirs to report");
}
