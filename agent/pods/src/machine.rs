//! A pod's life as a pure function: `step(pod, state, event, now) -> (state, effects)`.
//!
//! ```text
//!            Mount          Sandbox                   all ended, or asked to stop and all ended
//!   New ──► Mounting ──► Sandboxing ──► Up ──────────────────────────────────► Tearing ──► Down ──► Gone
//!              ▲ │            │ ▲        │ (sandbox lost: back to New)                       (deleted)
//!              │ ▼            ▼ │        │
//!             Delayed: a failure, tried again after a growing delay
//!
//!   In Up, each container (init ones in order, then all others) goes
//!
//!   Waiting ──EnsureImage──► busy Image ──Start──► busy Start ──► Running ──► Ended
//!     ▲  ▲                       │                     │                        │
//!     │  └── ErrImagePull, ImagePullBackOff ◄┘         │                        │
//!     │  └── CreateContainer(Config)Error ◄────────────┘                        │
//!     └───── CrashLoopBackOff ◄──────────────── restartPolicy says so ──────────┘
//! ```
//!
//! A phase is what a user is shown; `busy` is what has been asked for and not been answered. Each event is first taken
//! in, and then [`step`] asks for whatever the new state lacks, so that a lost or repeated event does no harm.

mod delay;
mod drive;
mod take;
#[cfg(test)]
mod tests;
mod wind_down;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};

pub use delay::{Delay, words};

use crate::ports::{Exit, Found};

/// Where the pod as a whole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    New,
    Mounting,
    Sandboxing,
    Delayed { until: Timestamp },
    Up,
    Tearing,
    Down,
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    Main,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub code: i32,
    pub signal: Option<i32>,
    pub reason: String,
    pub message: String,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    pub container_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Waiting {
        /// Empty: ContainerCreating or PodInitializing, as the pod's stage has it.
        reason: String,
        message: String,
        until: Option<Timestamp>,
    },
    Running {
        since: Timestamp,
    },
    Ended(Ended),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Busy {
    No,
    Image,
    Start,
}

/// One container of the pod through all its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub name: String,
    pub role: Role,
    pub phase: Phase,
    pub busy: Busy,
    /// Containers made so far: the next one's attempt.
    pub made: u32,
    pub container_id: Option<String>,
    pub image_id: Option<String>,
    /// The image that the running container was made from, as the spec named it.
    pub image: String,
    pub last: Option<Ended>,
    pub crash: Delay,
    pub pull: Delay,
    pub signalled: bool,
    pub killed: bool,
    pub kill_at: Option<Timestamp>,
}

/// The pod is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub grace_seconds: i64,
    pub deadline: Timestamp,
}

/// Why a pod failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub reason: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub stage: Stage,
    pub started: Timestamp,
    pub pod_ips: Vec<String>,
    pub slots: Vec<Slot>,
    pub stop: Option<Stop>,
    pub failure: Option<Failure>,
    /// The object is being deleted, or is gone.
    pub deleted: bool,
    /// The node is being stopped: nothing is told of it, and the pod starts anew next time.
    pub halted: bool,
    pub setup: Delay,
    /// Ends that were told before the start was: of containers that lived for a moment only.
    #[serde(default)]
    pub early: Vec<(String, Exit)>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// First in a worker's life. `None`: no sandbox of this pod was found.
    Begin {
        found: Option<Vec<Found>>,
    },
    /// The `pod` given to `step` is a newer one.
    Changed,
    /// The object is gone without having been deleted gracefully.
    Removed,
    /// The node is being stopped.
    Halt,
    /// Refused by this node.
    Reject(Failure),
    Mounted,
    MountFailed(String),
    SandboxReady {
        ips: Vec<String>,
    },
    SandboxFailed(String),
    Pulling {
        slot: usize,
    },
    ImageReady {
        slot: usize,
        image_id: String,
        pulled: Option<Pulled>,
    },
    ImageFailed {
        slot: usize,
        reason: String,
        message: String,
    },
    Started {
        slot: usize,
        container_id: String,
    },
    StartFailed {
        slot: usize,
        reason: String,
        message: String,
    },
    Exited {
        container_id: String,
        exit: Exit,
    },
    TornDown,
    /// Something that a waiting container may lack has come: objects or images.
    Retry,
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    pub milliseconds: u64,
    pub size_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The image's STOPSIGNAL, else SIGTERM.
    Stop,
    Kill,
}

/// A core/v1 Event in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
    /// The container it is about, and whether that is an init container.
    pub container: Option<(String, bool)>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Mount,
    CreateSandbox,
    EnsureImage {
        slot: usize,
    },
    Start {
        slot: usize,
        attempt: u32,
    },
    Signal {
        container_id: String,
        slot: usize,
        signal: Signal,
    },
    RemoveContainer {
        container_id: String,
    },
    TearDown,
    /// Remove what is kept for a finished pod: logs, its folder. Then tell that it is gone.
    Forget,
    WakeAt(Timestamp),
    Note(Note),
}

impl State {
    pub fn new(pod: &Pod, now: Timestamp) -> Self {
        Self {
            stage: Stage::New,
            started: now,
            pod_ips: Vec::new(),
            slots: slots(pod),
            stop: None,
            failure: None,
            deleted: false,
            halted: false,
            setup: Delay::default(),
            early: Vec::new(),
        }
    }

    /// Whether every init container has done its part.
    pub fn initialized(&self) -> bool {
        self.slots.iter().all(|slot| match slot.role {
            Role::Init => matches!(&slot.phase, Phase::Ended(ended) if ended.code == 0),
            Role::Sidecar => slot.was_up(),
            Role::Main => true,
        })
    }

    /// Any container that has, or may be about to have, a process.
    pub fn alive(&self) -> bool {
        self.slots.iter().any(|slot| slot.alive())
    }
}

impl Slot {
    fn new(container: &Container, role: Role) -> Self {
        Self {
            name: container.name.clone(),
            role,
            phase: Phase::waiting(),
            busy: Busy::No,
            made: 0,
            container_id: None,
            image_id: None,
            image: container.image.clone().unwrap_or_default(),
            last: None,
            crash: Delay::default(),
            pull: Delay::default(),
            signalled: false,
            killed: false,
            kill_at: None,
        }
    }

    pub fn alive(&self) -> bool {
        matches!(self.phase, Phase::Running { .. }) || self.busy == Busy::Start
    }

    /// Whether any attempt has run.
    pub fn was_up(&self) -> bool {
        !matches!(self.phase, Phase::Waiting { .. }) || self.last.is_some()
    }

    pub fn restart_count(&self) -> i32 {
        i32::try_from(self.made.saturating_sub(1)).unwrap_or(i32::MAX)
    }
}

impl Phase {
    pub fn waiting() -> Self {
        Self::Waiting { reason: String::new(), message: String::new(), until: None }
    }
}

fn slots(pod: &Pod) -> Vec<Slot> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let role = |container: &Container| match container.restart_policy.as_deref() {
        Some("Always") => Role::Sidecar,
        _ => Role::Init,
    };
    let init = spec.init_containers.iter().flatten().map(|container| Slot::new(container, role(container)));
    init.chain(spec.containers.iter().map(|container| Slot::new(container, Role::Main))).collect()
}

/// The container of a slot in the pod's spec.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|container| container.name == name)
}

/// `name_namespace(uid)`, as the kubelet's messages name a pod.
pub(crate) fn pod_words(pod: &Pod) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let meta = &pod.metadata;
    format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
}

/// Takes `event` in, and asks for what the new state lacks. Total: no event is illegal in any state.
pub fn step(pod: &Pod, state: State, event: Event, now: Timestamp) -> (State, Vec<Effect>) {
    let mut step = Step { pod, state, now, effects: Vec::new(), wake: None };
    step.take(event);
    step.advance();
    if let Some(at) = step.wake {
        step.effects.push(Effect::WakeAt(at));
    }
    (step.state, step.effects)
}

/// One step in progress.
struct Step<'a> {
    pod: &'a Pod,
    state: State,
    now: Timestamp,
    effects: Vec<Effect>,
    /// The earliest moment at which time alone changes something.
    wake: Option<Timestamp>,
}

impl Step<'_> {
    fn ask(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn note(&mut self, warning: bool, reason: &'static str, message: impl Into<String>) {
        self.ask(Effect::Note(Note { warning, reason, message: message.into(), container: None }));
    }

    fn note_slot(&mut self, slot: usize, warning: bool, reason: &'static str, message: impl Into<String>) {
        let slot = &self.state.slots[slot];
        let container = Some((slot.name.clone(), slot.role != Role::Main));
        self.ask(Effect::Note(Note { warning, reason, message: message.into(), container }));
    }

    fn grace_seconds(&self) -> i64 {
        let spec = self.pod.spec.as_ref();
        let deletion = self.pod.metadata.deletion_timestamp.as_ref();
        let deletion = deletion.and(self.pod.metadata.deletion_grace_period_seconds);
        deletion.or(spec.and_then(|spec| spec.termination_grace_period_seconds)).unwrap_or(30).max(0)
    }
}
