//! Stories of a pod, told as events and the effects they bring.

mod clock;
mod ephemeral;
mod hooks;
mod probes;
mod sidecars;
mod user;

use control_api::view::core::Pod;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::ports::{FoundState, PodFacts};
use crate::status;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

struct Story {
    pod: Pod,
    state: State,
    now: i64,
    effects: Vec<Effect>,
}

impl Story {
    fn new(spec: Value) -> Self {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec}))
                .unwrap();
        let state = State::new(&pod, at(0));
        Self { pod, state, now: 0, effects: Vec::new() }
    }

    fn on(&mut self, event: Event) -> &mut Self {
        let (state, effects) = step(&self.pod, self.state.clone(), event, at(self.now));
        (self.state, self.effects) = (state, effects);
        self
    }

    fn later(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds;
        self.on(Event::Tick)
    }

    /// To the point where containers may start.
    fn up(&mut self) -> &mut Self {
        self.on(Event::Begin { found: None });
        self.on(Event::Mounted).on(Event::SandboxReady { ips: vec!["10.42.0.2".to_owned()] })
    }

    fn image(&mut self, slot: usize) -> &mut Self {
        self.on(Event::ImageReady { slot, image_id: "sha256:1".to_owned(), pulled: None })
    }

    fn run(&mut self, slot: usize, id: &str) -> &mut Self {
        self.image(slot).on(started(slot, id))
    }

    fn exit(&mut self, id: &str, code: i32) -> &mut Self {
        let exit = exit(code, self.now);
        self.on(Event::Exited { container_id: id.to_owned(), exit })
    }

    fn asks(&self, effect: &Effect) -> bool {
        self.effects.contains(effect)
    }

    fn notes(&self) -> Vec<String> {
        let note = |effect: &Effect| match effect {
            Effect::Note(note) => Some(format!("{}: {}", note.reason, note.message)),
            _ => None,
        };
        self.effects.iter().filter_map(note).collect()
    }

    fn status(&self) -> Value {
        let status = status::render(&self.pod, &self.state, &PodFacts::default(), None, at(self.now));
        serde_json::to_value(status).unwrap()
    }

    fn condition(&self, name: &str) -> (String, String) {
        let status = self.status();
        let one = status["conditions"].as_array().unwrap().iter().find(|one| one["type"] == name).unwrap().clone();
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        (text("status"), format!("{} {}", text("reason"), text("message")).trim().to_owned())
    }
}

fn exit(code: i32, seconds: i64) -> Exit {
    Exit {
        code,
        signal: None,
        oom_killed: false,
        started_at: None,
        finished_at: at(seconds),
        message: String::new(),
        lost: false,
    }
}

fn started(slot: usize, id: &str) -> Event {
    Event::Started { slot, container_id: id.to_owned(), user: User::default() }
}

/// The first container `a`.
fn found(id: &str, state: FoundState) -> Found {
    Found { id: id.to_owned(), name: "a".to_owned(), attempt: 0, user: User::default(), state }
}

fn one() -> Value {
    json!({"containers": [{"name": "a", "image": "x:1"}]})
}

fn policy(policy: &str) -> Value {
    json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "x:1"}]})
}

#[test]
fn a_pod_goes_from_volumes_to_running() {
    let mut story = Story::new(one());
    story.on(Event::Begin { found: None });
    assert_eq!(story.effects, [Effect::Mount]);
    assert_eq!(story.on(Event::Mounted).effects, [Effect::CreateSandbox]);
    assert_eq!(story.status()["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    story.on(Event::SandboxReady { ips: vec!["10.42.0.2".to_owned()] });
    assert_eq!(story.effects, [Effect::EnsureImage { slot: 0 }]);
    story.image(0);
    assert!(story.asks(&Effect::Start { slot: 0, attempt: 0 }));
    assert_eq!(story.notes(), ["Pulled: Container image \"x:1\" already present on machine"]);
    assert_eq!(story.status()["phase"], "Pending");
    story.on(started(0, "c0"));
    let status = story.status();
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["podIP"], "10.42.0.2");
    assert_eq!(status["containerStatuses"][0]["containerID"], "bramble://c0");
    assert_eq!(story.condition("Ready").0, "True");
}

#[test]
fn a_crash_is_restarted_at_once_then_after_growing_delays() {
    let mut story = Story::new(one());
    story.up().run(0, "c0").exit("c0", 1);
    assert!(story.asks(&Effect::EnsureImage { slot: 0 }));
    assert!(story.asks(&Effect::RemoveContainer { container_id: "c0".to_owned() }));
    story.run(0, "c1").exit("c1", 1);
    let waiting = &story.status()["containerStatuses"][0];
    assert_eq!(waiting["state"]["waiting"]["reason"], "CrashLoopBackOff");
    let text = "back-off 10s restarting failed container=a pod=p_ns(u)";
    assert_eq!(waiting["state"]["waiting"]["message"], text);
    assert_eq!(waiting["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!((&waiting["restartCount"], &story.status()["phase"]), (&json!(1), &json!("Running")));
    assert_eq!(story.condition("Ready").1, "ContainersNotReady containers with unready status: [a]");
    assert_eq!(story.notes(), ["BackOff: Back-off restarting failed container a in pod p_ns(u)"]);
    assert!(!story.later(9).asks(&Effect::EnsureImage { slot: 0 }));
    assert!(story.later(1).asks(&Effect::EnsureImage { slot: 0 }));
    story.run(0, "c2").exit("c2", 1);
    assert!(story.asks(&Effect::WakeAt(at(story.now + 20))));
    story.later(20).run(0, "c3");
    story.now += 601;
    story.exit("c3", 1);
    assert!(story.asks(&Effect::EnsureImage { slot: 0 }), "ten quiet minutes reset the delay");
}

#[test]
fn never_and_on_failure_end_as_they_should() {
    for (name, code, phase) in [("Never", 0, "Succeeded"), ("Never", 3, "Failed"), ("OnFailure", 0, "Succeeded")] {
        let mut story = Story::new(policy(name));
        story.up().run(0, "c0").exit("c0", code);
        assert!(story.asks(&Effect::TearDown), "{name} {code}");
        story.on(Event::TornDown);
        assert_eq!((story.status()["phase"].as_str(), story.state.stage), (Some(phase), Stage::Down));
    }
    let mut story = Story::new(policy("OnFailure"));
    story.up().run(0, "c0").exit("c0", 3);
    assert!(story.asks(&Effect::EnsureImage { slot: 0 }));
    let mut story = Story::new(policy("Never"));
    story.up().run(0, "c0").exit("c0", 0);
    assert_eq!(story.condition("Ready"), ("False".to_owned(), "PodCompleted".to_owned()));
    assert_eq!(story.status()["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
}

#[test]
fn an_evicted_pod_fails_and_says_why() {
    let mut story = Story::new(one());
    story.up().image(0).run(0, "a");
    story.on(Event::Evict { message: "The node was low on resource: memory.".to_owned(), disrupted: true });
    assert_eq!(story.notes()[0], "Evicted: The node was low on resource: memory.");
    story.exit("a", 137).on(Event::TornDown);
    assert_eq!(
        (story.status()["phase"].as_str(), story.status()["reason"].as_str()),
        (Some("Failed"), Some("Evicted"))
    );
    assert!(story.status()["message"].as_str().unwrap().starts_with("The node was low"));
    assert_eq!(
        story.condition("DisruptionTarget"),
        ("True".to_owned(), "TerminationByKubelet The node was low on resource: memory.".to_owned())
    );
}

#[test]
fn a_pod_that_is_over_is_not_evicted() {
    let mut story = Story::new(policy("Never"));
    story.up().image(0).run(0, "a");
    story.exit("a", 0);
    story.on(Event::Evict { message: "late".to_owned(), disrupted: true }).on(Event::TornDown);
    assert_eq!(story.status()["phase"], "Succeeded");
}

#[test]
fn a_missing_image_is_an_error_first_and_a_back_off_then() {
    let mut story = Story::new(one());
    story.up().on(Event::Pulling { slot: 0 });
    assert_eq!(story.notes(), ["Pulling: Pulling image \"x:1\""]);
    let message = "not found".to_owned();
    story.on(Event::ImageFailed { slot: 0, reason: "ErrImagePull".to_owned(), message });
    assert_eq!(story.notes(), ["Failed: Failed to pull image \"x:1\": not found", "Failed: Error: ErrImagePull"]);
    assert_eq!(story.status()["containerStatuses"][0]["state"]["waiting"]["reason"], "ErrImagePull");
    story.later(1);
    let waiting = story.status()["containerStatuses"][0]["state"]["waiting"].clone();
    assert_eq!(waiting["reason"], "ImagePullBackOff");
    assert_eq!(waiting["message"], "Back-off pulling image \"x:1\": ErrImagePull: not found");
    assert_eq!(story.notes()[0], "BackOff: Back-off pulling image \"x:1\"");
    assert!(story.later(9).asks(&Effect::EnsureImage { slot: 0 }));
    let message = "not found".to_owned();
    story.on(Event::ImageFailed { slot: 0, reason: "ErrImagePull".to_owned(), message });
    assert!(story.on(Event::Retry).asks(&Effect::EnsureImage { slot: 0 }), "an import ends the wait");
}

#[test]
fn init_containers_run_in_order_and_hold_the_others_back() {
    let spec = json!({"restartPolicy": "Never",
        "initContainers": [{"name": "i", "image": "x:1"}, {"name": "j", "image": "x:1"}],
        "containers": [{"name": "a", "image": "x:1"}]});
    let mut story = Story::new(spec.clone());
    story.up();
    assert_eq!(story.effects, [Effect::EnsureImage { slot: 0 }]);
    let message = "ContainersNotInitialized containers with incomplete status: [i j]";
    assert_eq!(story.condition("Initialized"), ("False".to_owned(), message.to_owned()));
    assert_eq!(story.status()["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    assert!(story.run(0, "i0").exit("i0", 0).asks(&Effect::EnsureImage { slot: 1 }));
    assert!(story.run(1, "j0").exit("j0", 0).asks(&Effect::EnsureImage { slot: 2 }));
    assert_eq!(story.run(2, "a0").status()["phase"], "Running");

    let mut story = Story::new(spec);
    story.up().run(0, "i0").exit("i0", 1);
    assert!(story.asks(&Effect::TearDown));
    assert_eq!(story.status()["phase"], "Failed");
}

#[test]
fn a_deletion_gives_its_grace_and_then_kills() {
    let mut story = Story::new(one());
    story.up().run(0, "c0");
    story.pod.metadata.deletion_timestamp = Some(control_api::view::Time(at(30)));
    story.pod.metadata.deletion_grace_period_seconds = Some(30);
    story.on(Event::Changed);
    let signal = |signal| Effect::Signal { container_id: "c0".to_owned(), slot: 0, signal };
    assert!(story.asks(&signal(Signal::Stop)));
    assert_eq!(story.notes(), ["Killing: Stopping container a"]);
    assert!(!story.later(10).asks(&signal(Signal::Kill)));
    story.pod.metadata.deletion_grace_period_seconds = Some(1);
    story.on(Event::Changed);
    assert!(story.later(1).asks(&signal(Signal::Kill)), "a shorter grace shortens");
    assert!(!story.later(1).asks(&signal(Signal::Kill)), "once is enough");
    assert!(story.exit("c0", 137).asks(&Effect::TearDown));
    assert_eq!(story.on(Event::TornDown).effects, [Effect::Forget]);
    assert_eq!(story.state.stage, Stage::Gone);
}

#[test]
fn a_pod_deleted_before_it_began_is_just_torn_down() {
    let mut story = Story::new(one());
    story.on(Event::Begin { found: None }).on(Event::Removed);
    assert!(story.on(Event::Mounted).asks(&Effect::TearDown));
}

#[test]
fn an_end_told_before_its_start_is_not_lost() {
    let mut story = Story::new(policy("Never"));
    story.up().image(0).exit("c0", 3);
    assert_eq!(story.status()["phase"], "Pending");
    story.on(started(0, "c0"));
    assert_eq!(story.status()["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    assert_eq!(story.status()["phase"], "Failed");
}

#[test]
fn a_deadline_fails_the_pod() {
    let mut story = Story::new(json!({"activeDeadlineSeconds": 60, "containers": [{"name": "a", "image": "x:1"}]}));
    story.up().run(0, "c0");
    assert!(story.asks(&Effect::WakeAt(at(60))));
    story.later(60);
    assert!(story.asks(&Effect::Signal { container_id: "c0".to_owned(), slot: 0, signal: Signal::Stop }));
    assert_eq!(story.status()["phase"], "Running", "something of it runs");
    story.exit("c0", 143);
    assert_eq!(story.status()["reason"], "DeadlineExceeded");
    assert_eq!(story.status()["phase"], "Failed");
}

#[test]
fn a_restarted_agent_takes_up_what_runs_and_what_ended_meanwhile() {
    let mut story = Story::new(policy("Never"));
    story.up().run(0, "c0");
    let found = |state| found("c0", state);
    let mut running = Story { effects: vec![], state: story.state.clone(), pod: story.pod.clone(), now: 5 };
    running.on(Event::Begin { found: Some(vec![found(FoundState::Running { since: at(0) })]) });
    assert_eq!(running.effects, []);
    story.on(Event::Begin { found: Some(vec![found(FoundState::Exited(exit(7, 3)))]) });
    assert_eq!(story.status()["containerStatuses"][0]["state"]["terminated"]["exitCode"], 7);
}

#[test]
fn a_sandbox_that_a_start_finds_lost_is_made_anew_and_the_attempt_counts_once() {
    let mut story = Story::new(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    story.up().run(0, "a0").image(1);
    assert!(story.asks(&Effect::Start { slot: 1, attempt: 0 }));
    let lost = Exit { lost: true, ..exit(137, 0) };
    // Told while another was being started: that one is answered first.
    story.on(Event::Exited { container_id: "a0".to_owned(), exit: lost }).image(0);
    assert!(story.asks(&Effect::Start { slot: 0, attempt: 1 }));
    story.on(Event::SandboxLost { slot: 0 });
    assert!(!story.asks(&Effect::Mount));
    story.on(Event::SandboxLost { slot: 1 });
    assert!(story.asks(&Effect::Mount), "{:?}", story.effects);
    story.on(Event::Mounted).on(Event::SandboxReady { ips: Vec::new() }).image(0).image(1);
    assert!(story.asks(&Effect::Start { slot: 1, attempt: 0 }));
    // Nothing started in that one either: the next waits.
    story.on(Event::SandboxLost { slot: 0 }).on(Event::SandboxLost { slot: 1 });
    assert!(!story.asks(&Effect::Mount));
    assert!(story.later(10).asks(&Effect::Mount));
    story.on(Event::Mounted).on(Event::SandboxReady { ips: Vec::new() }).run(0, "a1").run(1, "b0");
    assert_eq!((story.state.slots[0].restart_count(), story.state.slots[1].restart_count()), (1, 0));
}

#[test]
fn ends_that_came_before_a_failed_start_do_not_hide_those_of_the_next() {
    let mut story = Story::new(json!({"containers": [{"name": "a"}], "restartPolicy": "Always"}));
    story.up().image(0).exit("never-known", 137);
    story.on(Event::StartFailed { slot: 0, reason: "StartError".to_owned(), message: String::new() });
    story.image(0).exit("a1", 3).on(started(0, "a1"));
    assert_eq!(story.state.slots[0].last.as_ref().map(|ended| ended.code), Some(3));
}

#[test]
fn what_an_agent_ended_in_the_removal_of_is_removed_by_the_next() {
    let mut story = Story::new(json!({"containers": [{"name": "a"}], "restartPolicy": "Never"}));
    story.up().run(0, "a0").exit("a0", 0);
    story.on(Event::Begin { found: Some(Vec::new()) });
    assert!(story.asks(&Effect::RemoveContainer { container_id: "a0".to_owned() }));
}

#[test]
fn a_container_started_as_the_agent_ended_is_adopted_by_its_attempt() {
    let mut story = Story::new(one());
    story.up().image(0);
    let found = found("c9", FoundState::Running { since: at(0) });
    story.on(Event::Begin { found: Some(vec![found]) });
    assert_eq!((story.effects.len(), story.state.slots[0].container_id.as_deref()), (0, Some("c9")));
}

#[test]
fn after_a_reboot_everything_starts_anew_and_counts_as_a_restart() {
    let mut story = Story::new(one());
    story.up().run(0, "c0").on(Event::Begin { found: None });
    assert!(story.asks(&Effect::Mount));
    story.on(Event::Mounted).on(Event::SandboxReady { ips: vec![] }).run(0, "c1");
    let container = &story.status()["containerStatuses"][0];
    assert_eq!(container["restartCount"], 1);
    assert_eq!(container["lastState"]["terminated"]["reason"], "ContainerStatusUnknown");
}

#[test]
fn a_new_image_replaces_the_container() {
    let mut story = Story::new(policy("Never"));
    story.up().run(0, "c0");
    story.pod.spec.as_mut().unwrap().containers[0].image = Some("x:2".to_owned());
    story.on(Event::Changed);
    assert_eq!(story.notes(), ["Killing: Container a definition changed, will be restarted"]);
    assert!(story.exit("c0", 0).asks(&Effect::EnsureImage { slot: 0 }));
}

#[test]
fn a_missing_config_map_is_a_config_error_that_is_tried_again() {
    let mut story = Story::new(one());
    story.up().image(0);
    let message = "configmap \"x\" not found".to_owned();
    story.on(Event::StartFailed { slot: 0, reason: "CreateContainerConfigError".to_owned(), message });
    let waiting = story.status()["containerStatuses"][0]["state"]["waiting"].clone();
    assert_eq!(waiting["reason"], "CreateContainerConfigError");
    assert_eq!(waiting["message"], "configmap \"x\" not found");
    assert_eq!(story.notes(), ["Failed: Error: configmap \"x\" not found"]);
    assert!(story.later(10).asks(&Effect::EnsureImage { slot: 0 }));
    assert!(story.image(0).asks(&Effect::Start { slot: 0, attempt: 0 }), "nothing was made, so it is the same attempt");
}
