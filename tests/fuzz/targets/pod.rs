//! A pod as the server sends it, through all that the node makes of it before anything has an effect.
#![no_main]

use agent_pods::machine::{Effect, Event, Outcome, State, container, step};
use agent_pods::ports::{Exit, Image, Objects, PodFacts, User, UserIds};
use agent_pods::pressure::Pressure;
use agent_pods::spec::{self, Sources};
use agent_pods::{admission, event, names, status};
use control_api::view::View;
use control_api::view::core::{ConfigMap, Pod, Secret, Service};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

/// Steps of one pod's life.
const STEPS_MAX: usize = 60;

/// A node that has nothing.
struct Nothing;

impl Objects for Nothing {
    fn config_map(&self, _: &str, _: &str) -> Option<ConfigMap> {
        None
    }

    fn secret(&self, _: &str, _: &str) -> Option<Secret> {
        None
    }

    fn services(&self, _: &str) -> Vec<Service> {
        Vec::new()
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(pod) = Pod::parse(data) else { return };
    let _ = admission::refusal(&pod, Pressure { memory: true, ..Pressure::default() });
    if names::check(&pod).is_err() {
        return;
    }
    let folder = spec::log_dir("/logs".as_ref(), &pod);
    assert_eq!(folder.components().count(), 3, "{} climbs", folder.display());
    describe(&pod, &folder);
    live(&pod);
});

fn describe(pod: &Pod, folder: &std::path::Path) {
    let _ = (spec::sandbox(pod, folder.to_owned(), "cluster.local"), spec::host_ports(pod));
    let (image, facts) = (Image { cmd: vec!["run".to_owned()], ..Image::default() }, PodFacts::default());
    for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
        let _ = agent_pods::security::user(pod, container, "app:web");
        let sources = Sources { pod, container, image: &image, objects: &Nothing, facts: &facts };
        let _ = sources.container(&UserIds::default());
        if let Ok(environment) = sources.environment() {
            let _ = sources.mounts(&environment, |_, sub_path| Ok::<_, ()>(sub_path.into()));
        }
    }
}

/// One thing after the other, as a node that does all it is asked for would tell them; what runs fails sooner or later.
fn live(pod: &Pod) {
    let mut now = Timestamp::from_second(1_800_000_000).expect("a time");
    let mut state = State::new(pod, now);
    let mut events = vec![Event::Begin { found: None }];
    for count in 0..STEPS_MAX {
        let event = events.pop().unwrap_or(match count {
            0..40 => Event::Tick,
            _ => Event::Removed,
        });
        let (next, effects) = step(pod, state, event, now);
        state = next;
        for effect in effects {
            match effect {
                Effect::WakeAt(at) => now = now.max(at.min(Timestamp::MAX)),
                Effect::Note(note) => drop(event::render(pod, &note, "node", now)),
                effect => events.extend(answer(pod, effect, &state, now)),
            }
        }
        let told = status::render(pod, &state, &PodFacts::default(), None, now);
        serde_json::to_vec(&told).expect("a status can be told");
        let recorded = serde_json::to_vec(&state).expect("a state can be recorded");
        assert_eq!(serde_json::from_slice::<State>(&recorded).expect("a record can be read").stage, state.stage);
    }
}

fn answer(pod: &Pod, effect: Effect, state: &State, now: Timestamp) -> Option<Event> {
    let exited = |container_id: String| {
        let (message, started_at) = (String::new(), Some(now));
        let exit =
            Exit { code: 1, signal: None, oom_killed: false, started_at, finished_at: now, message, lost: false };
        Event::Exited { container_id, exit }
    };
    Some(match effect {
        Effect::Mount => Event::Mounted,
        Effect::CreateSandbox => Event::SandboxReady { ips: vec!["10.42.0.2".to_owned()] },
        Effect::EnsureImage { slot } => Event::ImageReady { slot, image_id: "id".to_owned(), pulled: None },
        Effect::Start { slot, attempt } => {
            assert!(container(pod, &state.slots[slot].name).is_some(), "a container of the pod");
            Event::Started { slot, container_id: format!("{slot}-{attempt}"), user: User::default() }
        }
        Effect::Signal { container_id, .. } => exited(container_id),
        Effect::Probe { container_id, kind, .. } => {
            Event::Probed { container_id, kind, outcome: Outcome::Failure("no".to_owned()) }
        }
        Effect::Hook { container_id, hook, .. } => Event::Hooked { container_id, hook, succeeded: true },
        Effect::TearDown => Event::TornDown,
        Effect::RemoveContainer { .. } | Effect::Forget | Effect::WakeAt(_) | Effect::Note(_) => return None,
    })
}
