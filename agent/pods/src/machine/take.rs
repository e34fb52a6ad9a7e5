//! What an event says, written into the state; nothing is asked for here but Events for the user.

use super::delay::after;
use super::{
    Busy, EVICTED, Effect, Ended, Event, Failure, Phase, ProbeKind, Pulled, Role, Slot, Stage, State, Step, Stop,
};
use crate::ports::{Exit, Found, FoundState, User};

/// How long ErrImagePull is shown before it turns into ImagePullBackOff.
pub(super) const PULL_ERROR_SHOWN_SECONDS: i64 = 1;
/// What is left to a pod whose object was removed outright.
const REMOVED_GRACE_SECONDS: i64 = 1;
/// What the kubelet leaves to a pod where a hard threshold is met.
const EVICTED_GRACE_SECONDS: i64 = 1;
/// As the kubelet has it for a container whose end nobody saw, and for one that could not be started.
const CODE_UNKNOWN: i32 = 137;
const CODE_START_ERROR: i32 = 128;

impl Step<'_> {
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Begin { found } => self.begin(found),
            Event::Changed => self.deletion(),
            Event::Removed => {
                self.deletion();
                self.state.deleted = true;
                self.stop_within(REMOVED_GRACE_SECONDS);
            }
            Event::Halt => {
                self.state.halted = true;
                self.stop_within(self.grace_seconds());
            }
            Event::Reject { message } => self.rejected(message),
            Event::Evict { message, disrupted } => self.evicted(message, disrupted),
            Event::Mounted if self.state.stage == Stage::Mounting => self.mounted(),
            Event::MountFailed(message) if self.state.stage == Stage::Mounting => {
                self.setup_failed("FailedMount", message);
            }
            Event::SandboxReady { ips } if self.state.stage == Stage::Sandboxing => {
                self.state.pod_ips = ips;
                self.state.stage = Stage::Up;
            }
            Event::SandboxFailed(message) if self.state.stage == Stage::Sandboxing => {
                self.setup_failed("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {message}"));
            }
            Event::Pulling { slot } => {
                let image = self.spec_image(slot);
                self.note_slot(slot, false, "Pulling", format!("Pulling image \"{image}\""));
            }
            Event::ImageReady { slot, image_id, pulled } => self.image_ready(slot, image_id, pulled),
            Event::ImageFailed { slot, reason, message } => self.image_failed(slot, reason, message),
            Event::Started { slot, container_id, user } => self.started(slot, container_id, user),
            Event::StartFailed { slot, reason, message } => self.start_failed(slot, reason, message),
            Event::SandboxLost { slot } => self.not_started(slot),
            Event::Exited { container_id, exit } => self.exited(&container_id, exit),
            Event::Probed { container_id, kind, outcome } => self.probed(&container_id, kind, outcome),
            Event::Hooked { container_id, hook, succeeded } => self.hooked(&container_id, hook, succeeded),
            Event::TornDown if self.state.stage == Stage::Tearing => {
                self.state.stage = Stage::Down;
                self.state.pod_ips.clear();
            }
            Event::Retry => self.retry(),
            _ => {}
        }
    }

    fn mounted(&mut self) {
        if self.state.stop.is_some() {
            self.state.stage = Stage::New;
            return;
        }
        self.state.stage = Stage::Sandboxing;
        self.ask(Effect::CreateSandbox);
    }

    fn begin(&mut self, found: Option<Vec<Found>>) {
        self.state.wait_no_longer_than_plausible(self.now);
        self.deletion();
        if matches!(self.state.stage, Stage::Mounting | Stage::Sandboxing) {
            self.state.stage = Stage::New;
        }
        if self.state.stage == Stage::Tearing {
            self.state.stage = Stage::Up;
        }
        match found {
            Some(found) => self.adopt(found),
            None if self.state.stage == Stage::Up => self.sandbox_lost(),
            None => {}
        }
        self.remove_ended();
    }

    /// Again: the agent may have ended in the midst of it.
    fn remove_ended(&mut self) {
        for index in 0..self.state.slots.len() {
            let slot = &self.state.slots[index];
            if let (false, Some(container_id)) = (slot.alive(), slot.container_id.clone()) {
                let effect = Effect::RemoveContainer { container_id };
                if !self.effects.contains(&effect) {
                    self.ask(effect);
                }
            }
        }
    }

    /// Matches containers by id; one that was being started when the agent ended, by name and attempt.
    fn adopt(&mut self, found: Vec<Found>) {
        for index in 0..self.state.slots.len() {
            let slot = &self.state.slots[index];
            let was_starting = slot.busy == Busy::Start;
            let held = |one: &&Found| {
                Some(&one.id) == slot.container_id.as_ref() && matches!(slot.phase, Phase::Running { .. })
                    || was_starting && one.name == slot.name && one.attempt + 1 == slot.made
            };
            let one = found.iter().find(held).cloned();
            self.state.slots[index].busy = Busy::No;
            match one.map(|one| (one.id, one.user, one.state)) {
                // It started, and what follows a start was never asked for.
                Some((id, user, FoundState::Running { since })) if was_starting => {
                    self.running(index, id, user, since);
                }
                Some((_, user, FoundState::Running { since })) => {
                    self.state.slots[index].user = Some(user);
                    self.state.slots[index].phase = Phase::Running { since };
                    self.resume_hooks(index);
                }
                Some((id, user, FoundState::Exited(exit))) => {
                    self.state.slots[index].user = Some(user);
                    self.state.slots[index].container_id = Some(id.clone());
                    self.state.slots[index].phase = Phase::Running { since: exit.started_at.unwrap_or(self.now) };
                    self.exited(&id, exit);
                }
                _ if matches!(self.state.slots[index].phase, Phase::Running { .. }) => self.lost(index),
                _ if was_starting => self.state.slots[index].made -= 1,
                _ => {}
            }
        }
        let known =
            |id: &String| self.state.slots.iter().any(|slot| slot.alive() && slot.container_id.as_ref() == Some(id));
        let strangers: Vec<String> = found.into_iter().map(|one| one.id).filter(|id| !known(id)).collect();
        for container_id in strangers {
            self.ask(Effect::RemoveContainer { container_id });
        }
    }

    /// After a reboot nothing runs: everything starts anew, init containers included.
    pub(super) fn sandbox_lost(&mut self) {
        for index in 0..self.state.slots.len() {
            if matches!(self.state.slots[index].phase, Phase::Running { .. }) {
                self.lost(index);
            }
        }
        let finished = self.finished();
        let state: &mut State = &mut self.state;
        state.pod_ips.clear();
        state.sandbox_gone = false;
        state.early.clear();
        state.begun &= finished;
        for slot in &mut state.slots {
            slot.busy = Busy::No;
            let over = finished || slot.role == Role::Ephemeral;
            if let (Phase::Ended(ended), false) = (&slot.phase, over) {
                slot.last = Some(ended.clone());
                slot.phase = Phase::waiting();
            }
        }
        // A finished pod only lacks its teardown.
        if !finished {
            state.stage = Stage::New;
        }
    }

    fn lost(&mut self, index: usize) {
        let id = self.state.slots[index].container_id.clone().unwrap_or_default();
        let exit = Exit {
            code: CODE_UNKNOWN,
            signal: None,
            oom_killed: false,
            started_at: None,
            finished_at: self.now,
            message: String::new(),
            lost: true,
        };
        self.exited(&id, exit);
    }

    fn deletion(&mut self) {
        if self.pod.metadata.deletion_timestamp.is_some() {
            self.state.deleted = true;
            self.stop_within(self.grace_seconds());
        }
    }

    /// A later, shorter grace shortens; a longer one changes nothing.
    pub(super) fn stop_within(&mut self, grace_seconds: i64) {
        let deadline = after(self.now, grace_seconds);
        let stop = match self.state.stop {
            Some(stop) if grace_seconds >= stop.grace_seconds => return,
            Some(stop) => Stop { grace_seconds, deadline: deadline.min(stop.deadline) },
            None => Stop { grace_seconds, deadline },
        };
        let deadline = stop.deadline;
        self.state.stop = Some(stop);
        for slot in &mut self.state.slots {
            slot.kill_at = slot.kill_at.map(|at| at.min(deadline));
        }
    }

    /// The node needs what the pod takes, at once.
    fn evicted(&mut self, message: String, disrupted: bool) {
        let over = matches!(self.state.stage, Stage::Tearing | Stage::Down | Stage::Gone);
        if over || self.state.stop.is_some() {
            return;
        }
        self.note(true, EVICTED, message.clone());
        self.state.failure.get_or_insert(Failure { reason: EVICTED.to_owned(), message, disrupted });
        self.stop_within(EVICTED_GRACE_SECONDS);
    }

    fn rejected(&mut self, message: String) {
        self.note(true, EVICTED, message.clone());
        self.fail(Failure::rejection(&message));
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.state.failure.get_or_insert(failure);
        self.stop_within(self.grace_seconds());
    }

    fn setup_failed(&mut self, reason: &'static str, message: String) {
        self.note(true, reason, message);
        let seconds = self.state.setup.grow(self.now);
        self.state.stage = Stage::Delayed { until: after(self.now, seconds) };
    }

    pub(super) fn spec_image(&self, slot: usize) -> String {
        let container = super::container(self.pod, &self.state.slots[slot].name);
        container.and_then(|container| container.image.clone()).unwrap_or_default()
    }

    fn image_ready(&mut self, index: usize, image_id: String, pulled: Option<Pulled>) {
        let image = self.spec_image(index);
        let text = match pulled {
            None => format!("Container image \"{image}\" already present on machine"),
            Some(Pulled { milliseconds, size_bytes }) => {
                let took = milliseconds_words(milliseconds);
                format!(
                    "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {size_bytes} bytes."
                )
            }
        };
        let slot = &mut self.state.slots[index];
        if slot.busy != Busy::Image {
            return;
        }
        slot.image_id = Some(image_id);
        slot.image = image;
        slot.pull.reset();
        slot.busy = Busy::No;
        self.note_slot(index, false, "Pulled", text);
        if self.state.stop.is_none() && self.state.stage == Stage::Up {
            self.start(index);
        }
    }

    fn image_failed(&mut self, index: usize, reason: String, message: String) {
        let image = self.spec_image(index);
        let slot = &mut self.state.slots[index];
        if slot.busy != Busy::Image {
            return;
        }
        slot.busy = Busy::No;
        let until = Some(after(self.now, slot.pull.grow(self.now)));
        slot.keep_last();
        slot.phase = Phase::Waiting { reason: reason.clone(), message: message.clone(), until };
        match reason.as_str() {
            "ErrImageNeverPull" => self.note_slot(index, true, "ErrImageNeverPull", message),
            "InvalidImageName" => self.note_slot(index, true, "InspectFailed", message),
            _ => self.note_slot(index, true, "Failed", format!("Failed to pull image \"{image}\": {message}")),
        }
        self.note_slot(index, true, "Failed", format!("Error: {reason}"));
    }

    fn started(&mut self, index: usize, container_id: String, user: User) {
        let now = self.now;
        let slot = &mut self.state.slots[index];
        slot.keep_last();
        slot.busy = Busy::No;
        self.state.setup.reset();
        self.note_slot(index, false, "Created", "Container created");
        self.note_slot(index, false, "Started", "Container started");
        self.running(index, container_id, user, now);
        let early = std::mem::take(&mut self.state.early);
        for (container_id, exit) in early {
            self.exited(&container_id, exit);
        }
    }

    /// A new container runs: everything that was known of the one before it is forgotten.
    fn running(&mut self, index: usize, container_id: String, user: User, since: jiff::Timestamp) {
        let has_startup = self.probe_of(index, ProbeKind::Startup).is_some();
        let has_readiness = self.probe_of(index, ProbeKind::Readiness).is_some();
        let slot = &mut self.state.slots[index];
        slot.container_id = Some(container_id);
        slot.user = Some(user);
        slot.phase = Phase::Running { since };
        (slot.signalled, slot.told, slot.killed, slot.kill_at) = (false, false, false, None);
        (slot.started, slot.ready, slot.unhealthy) = (!has_startup, !has_readiness, false);
        slot.probing = Default::default();
        self.begin_hooks(index);
    }

    fn start_failed(&mut self, index: usize, reason: String, message: String) {
        let now = self.now;
        self.state.slots[index].busy = Busy::No;
        if self.state.slots.iter().all(|slot| slot.busy != Busy::Start) {
            // Ends of containers that never came to be known.
            self.state.early.clear();
        }
        let slot = &mut self.state.slots[index];
        slot.keep_last();
        if reason == "StartError" {
            self.note_slot(index, false, "Created", "Container created");
            self.note_slot(index, true, "Failed", format!("Error: {message}"));
            self.state.slots[index].phase = Phase::Ended(Ended {
                code: CODE_START_ERROR,
                signal: None,
                reason,
                message,
                started_at: None,
                finished_at: now,
                container_id: None,
            });
            return;
        }
        // Nothing was made: the next try is the same attempt.
        slot.made = slot.made.saturating_sub(1);
        let until = Some(after(now, slot.pull.grow(now)));
        slot.phase = Phase::Waiting { reason, message: message.clone(), until };
        self.note_slot(index, true, "Failed", format!("Error: {message}"));
    }

    /// The next try is the same attempt, in a new sandbox.
    fn not_started(&mut self, index: usize) {
        let slot = &mut self.state.slots[index];
        slot.busy = Busy::No;
        slot.made = slot.made.saturating_sub(1);
        self.state.sandbox_gone = true;
    }

    fn exited(&mut self, container_id: &str, exit: Exit) {
        let held = |slot: &Slot| {
            slot.container_id.as_deref() == Some(container_id) && matches!(slot.phase, Phase::Running { .. })
        };
        let Some(index) = self.state.slots.iter().position(held) else {
            if self.state.container_ids().any(|known| known == container_id) {
                return;
            }
            let starting = self.state.slots.iter().filter(|slot| slot.busy == Busy::Start).count();
            if self.state.early.len() < starting {
                self.state.early.push((container_id.to_owned(), exit));
            }
            return;
        };
        let slot = &mut self.state.slots[index];
        let since = match slot.phase {
            Phase::Running { since } => Some(since),
            _ => None,
        };
        let reason = match (exit.lost, exit.oom_killed, exit.code) {
            (true, ..) => "ContainerStatusUnknown",
            (_, true, _) => "OOMKilled",
            (_, _, 0) => "Completed",
            _ => "Error",
        };
        let unknown = "The container could not be located when the pod was terminated";
        slot.phase = Phase::Ended(Ended {
            code: exit.code,
            signal: exit.signal,
            reason: reason.to_owned(),
            message: if exit.lost { unknown.to_owned() } else { exit.message },
            started_at: exit.started_at.or(since),
            finished_at: exit.finished_at,
            container_id: Some(container_id.to_owned()),
        });
        self.ask(Effect::RemoveContainer { container_id: container_id.to_owned() });
    }

    fn retry(&mut self) {
        if let Stage::Delayed { until } = &mut self.state.stage {
            *until = self.now;
        }
        for slot in &mut self.state.slots {
            if let Phase::Waiting { reason, until, .. } = &mut slot.phase
                && reason != "CrashLoopBackOff"
                && until.is_some()
            {
                *until = Some(self.now);
            }
        }
    }
}

impl Slot {
    /// An end that is about to be covered by something newer stays as `lastState`.
    pub(super) fn keep_last(&mut self) {
        if let Phase::Ended(ended) = &self.phase {
            self.last = Some(ended.clone());
        }
    }

    pub(super) fn is_initial(&self) -> bool {
        self.role == Role::Init
    }
}

/// Milliseconds as Go writes a duration: `340ms`, `1.2s`, `1m2.5s`.
fn milliseconds_words(milliseconds: u64) -> String {
    if milliseconds < 1000 {
        return format!("{milliseconds}ms");
    }
    let minutes = milliseconds / 60_000;
    let fraction = format!("{:03}", milliseconds % 1000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let seconds = format!("{}{dot}{fraction}s", milliseconds / 1000 % 60);
    if minutes > 0 { format!("{minutes}m{seconds}") } else { seconds }
}
