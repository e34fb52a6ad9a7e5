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
//!
//! ```text
//!   While Running
//!
//!   postStart ──► startup probe ──► liveness and readiness probes ──► preStop ──► stop signal ──► kill
//!       │               │                  │ (liveness)                  ▲
//!       └── failed ─────┴── failed ────────┴── failed ───────────────────┘ from here the grace counts
//! ```
//!
//! A container is shown as running once postStart is done. When probes are due, and what they answer, is part of the
//! state but not of the record: only what it changes (`started`, `ready`) is.

mod delay;
mod drive;
mod hook;
mod probe;
mod shift;
mod take;
#[cfg(test)]
mod tests;
mod wind_down;

use control_api::view::core::{Container, Pod};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use delay::{Delay, words};
pub use hook::HookKind;
pub use probe::{Outcome, ProbeKind, Probing};
pub use shift::step_between;

use crate::ports::{Exit, Found, User};

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
    /// Added to look at the others: it runs once, and nothing depends on it.
    Ephemeral,
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
    /// What the container was started as.
    #[serde(default)]
    pub user: Option<User>,
    /// The image that the running container was made from, as the spec named it.
    pub image: String,
    pub last: Option<Ended>,
    pub crash: Delay,
    pub pull: Delay,
    /// Its end has begun: by its preStop hook, or by waiting for its turn.
    pub signalled: bool,
    /// It was sent its stop signal.
    #[serde(default)]
    pub told: bool,
    pub killed: bool,
    pub kill_at: Option<Timestamp>,
    /// The postStart hook is done, or there is none.
    #[serde(default = "yes")]
    pub posted: bool,
    /// The preStop hook is at work; the stop signal follows it.
    #[serde(default)]
    pub pre_stop: bool,
    /// The startup probe has succeeded, or there is none.
    #[serde(default = "yes")]
    pub started: bool,
    /// What the readiness probe said last; true without one.
    #[serde(default = "yes")]
    pub ready: bool,
    /// A probe had it killed: it restarts whatever its exit code is.
    #[serde(default)]
    pub unhealthy: bool,
    /// By [`ProbeKind`].
    #[serde(skip)]
    pub probing: [Probing; 3],
}

/// For records of a time before probes.
fn yes() -> bool {
    true
}

/// The pod is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub grace_seconds: i64,
    pub deadline: Timestamp,
}

/// The reason of pods that their node ends for what they take.
pub const EVICTED: &str = "Evicted";

/// Why a pod failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub reason: String,
    pub message: String,
    /// For what the node lacks.
    #[serde(default)]
    pub disrupted: bool,
}

/// What the kubelet puts before the reason for which it does not take a pod.
const REJECTED: &str = "Pod was rejected: ";

impl Failure {
    fn rejection(message: &str) -> Self {
        Self { reason: EVICTED.to_owned(), message: format!("{REJECTED}{message}"), disrupted: false }
    }

    /// Whether the node did not take the pod: it has no containers, and tells of none.
    pub fn is_rejection(&self) -> bool {
        self.message.starts_with(REJECTED)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub stage: Stage,
    pub started: Timestamp,
    pub pod_ips: Vec<String>,
    pub slots: Vec<Slot>,
    /// Init containers have done their part, so that main ones may start. Holds until the sandbox is lost.
    #[serde(default)]
    pub begun: bool,
    pub stop: Option<Stop>,
    pub failure: Option<Failure>,
    /// The object is being deleted, or is gone.
    pub deleted: bool,
    /// The node is being stopped: nothing is told of it, and the pod starts anew next time.
    pub halted: bool,
    pub setup: Delay,
    /// A start found no sandbox any more.
    #[serde(default)]
    pub sandbox_gone: bool,
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
    /// Refused by this node, which is short of what the pod would take.
    Reject {
        message: String,
    },
    /// The pod takes what the node runs short of, or more than it may.
    Evict {
        message: String,
        /// Whether it goes for what the node lacks, and not for a limit of its own.
        disrupted: bool,
    },
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
        user: User,
    },
    StartFailed {
        slot: usize,
        reason: String,
        message: String,
    },
    /// Nothing was started, since what keeps the pod's containers is gone.
    SandboxLost {
        slot: usize,
    },
    Exited {
        container_id: String,
        exit: Exit,
    },
    Probed {
        container_id: String,
        kind: ProbeKind,
        outcome: Outcome,
    },
    /// A hook has ended, well or not.
    Hooked {
        container_id: String,
        hook: HookKind,
        succeeded: bool,
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
    Probe {
        container_id: String,
        slot: usize,
        kind: ProbeKind,
    },
    Hook {
        container_id: String,
        slot: usize,
        hook: HookKind,
        /// When nobody waits for it any more.
        deadline: Option<Timestamp>,
    },
    TearDown,
    /// Remove what is kept for a finished pod: logs, its folder. Then tell that it is gone.
    Forget,
    WakeAt(Timestamp),
    Note(Note),
}

impl State {
    /// The containers that the pod has, or had last in each slot.
    pub fn container_ids(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter_map(|slot| slot.container_id.as_deref())
    }

    pub fn new(pod: &Pod, now: Timestamp) -> Self {
        Self {
            stage: Stage::New,
            started: now,
            pod_ips: Vec::new(),
            slots: slots(pod),
            begun: false,
            stop: None,
            failure: None,
            deleted: false,
            halted: false,
            setup: Delay::default(),
            sandbox_gone: false,
            early: Vec::new(),
        }
    }

    /// Whether every init container has done its part.
    pub fn initialized(&self) -> bool {
        self.begun || self.slots.iter().all(Slot::lets_next_start)
    }

    /// Any container that has, or may be about to have, a process.
    pub fn alive(&self) -> bool {
        self.slots.iter().any(|slot| slot.alive())
    }

    /// Whether it holds how a container, or the pod, ended. An init container that did its part does it again in another
    /// sandbox.
    pub fn tells_an_end(&self) -> bool {
        let ended = |slot: &Slot| match &slot.phase {
            Phase::Ended(ended) => slot.role != Role::Init || ended.code != 0,
            _ => slot.last.is_some(),
        };
        self.failure.is_some() || !self.early.is_empty() || self.slots.iter().any(ended)
    }

    /// Whether a record of `other` would be the same as one of this.
    pub fn is_recorded_as(&self, other: &Self) -> bool {
        let mut other = other.clone();
        for (slot, mine) in other.slots.iter_mut().zip(&self.slots) {
            slot.probing.clone_from(&mine.probing);
        }
        *self == other
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
            user: None,
            image: container.image.clone().unwrap_or_default(),
            last: None,
            crash: Delay::default(),
            pull: Delay::default(),
            signalled: false,
            told: false,
            killed: false,
            kill_at: None,
            posted: true,
            pre_stop: false,
            started: true,
            ready: true,
            unhealthy: false,
            probing: Default::default(),
        }
    }

    /// Whether it is shown as running.
    pub fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Running { .. }) && self.posted
    }

    /// Whether its startup probe, if it has one, has been met.
    pub fn is_started(&self) -> bool {
        self.is_up() && self.started
    }

    /// Whether what comes after it in the list of init containers may start.
    pub fn lets_next_start(&self) -> bool {
        match self.role {
            Role::Init => matches!(&self.phase, Phase::Ended(ended) if ended.code == 0),
            Role::Sidecar => self.is_started(),
            Role::Main | Role::Ephemeral => true,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.is_started() && self.ready
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
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| Slot::new(container, Role::Ephemeral));
    let role = |container: &Container| match container.restart_policy.as_deref() {
        Some("Always") => Role::Sidecar,
        _ => Role::Init,
    };
    let init = spec.init_containers.iter().flatten().map(|container| Slot::new(container, role(container)));
    let main = spec.containers.iter().map(|container| Slot::new(container, Role::Main));
    init.chain(main).chain(ephemeral).collect()
}

/// The container of a slot in the pod's spec.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    spec.init_containers.iter().flatten().chain(&spec.containers).chain(ephemeral).find(|one| one.name == name)
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
    step.meet_ephemeral();
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
        let container = Some((slot.name.clone(), matches!(slot.role, Role::Init | Role::Sidecar)));
        self.ask(Effect::Note(Note { warning, reason, message: message.into(), container }));
    }

    /// Containers that were added to the pod since the last step.
    fn meet_ephemeral(&mut self) {
        let added = slots(self.pod).into_iter().filter(|slot| slot.role == Role::Ephemeral);
        for slot in added {
            if !self.state.slots.iter().any(|known| known.name == slot.name) {
                self.state.slots.push(slot);
            }
        }
    }

    fn grace_seconds(&self) -> i64 {
        let spec = self.pod.spec.as_ref();
        let deletion = self.pod.metadata.deletion_timestamp.as_ref();
        let deletion = deletion.and(self.pod.metadata.deletion_grace_period_seconds);
        deletion.or(spec.and_then(|spec| spec.termination_grace_period_seconds)).unwrap_or(30).max(0)
    }
}
