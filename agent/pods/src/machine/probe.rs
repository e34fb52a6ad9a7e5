//! When probes are due, and what their answers change.

use std::hash::{DefaultHasher, Hash, Hasher};

use control_api::view::core::{Container, Probe};
use jiff::{SignedDuration, Timestamp};

use super::delay::after;
use super::{Effect, Phase, Role, Step};

/// Probes of a pod at one time; more wait for one of these to end.
const PROBES_MAX: usize = 8;
/// As defaulting has them, for pods that came past it.
const PERIOD_SECONDS: i32 = 10;
const FAILURES: i32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

/// What a probe has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// A success that a user should know more of.
    Warning(String),
    Failure(String),
    /// It could not be carried out, which says nothing of the container.
    Error(String),
}

/// Where one probe of one container is. Not recorded: an agent that comes back begins to count anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probing {
    pub(super) due_at: Option<Timestamp>,
    asked: bool,
    last: Option<bool>,
    /// How often `last` was answered in a row.
    run: i32,
}

impl ProbeKind {
    const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

fn period_seconds(probe: &Probe) -> i64 {
    i64::from(probe.period_seconds.filter(|seconds| *seconds > 0).unwrap_or(PERIOD_SECONDS))
}

fn threshold(probe: &Probe, success: bool) -> i32 {
    let (given, usual) = if success { (probe.success_threshold, 1) } else { (probe.failure_threshold, FAILURES) };
    given.filter(|count| *count > 0).unwrap_or(usual)
}

impl Step<'_> {
    pub(super) fn probe_of(&self, index: usize, kind: ProbeKind) -> Option<&Probe> {
        kind.of(super::container(self.pod, &self.state.slots[index].name)?)
    }

    /// Asks for the probes of a container that are due.
    pub(super) fn probe(&mut self, index: usize) {
        for kind in ProbeKind::ALL {
            if self.is_probed(index, kind) {
                self.probe_when_due(index, kind);
            }
        }
    }

    /// Whether a probe has something to say now. A pod that ends is no longer judged but for its readiness: as long
    /// as it serves, it is an endpoint for those who have no other.
    fn is_probed(&self, index: usize, kind: ProbeKind) -> bool {
        let (state, slot) = (&self.state, &self.state.slots[index]);
        let kept = state.stop.is_none() && !slot.signalled;
        slot.is_up()
            && match kind {
                ProbeKind::Startup => !slot.started && kept,
                ProbeKind::Liveness => slot.started && kept,
                ProbeKind::Readiness => slot.started && state.failure.is_none() && !state.halted,
            }
    }

    fn probe_when_due(&mut self, index: usize, kind: ProbeKind) {
        let Some(probe) = self.probe_of(index, kind) else { return };
        let period_seconds = period_seconds(probe);
        let delay_seconds = i64::from(probe.initial_delay_seconds.unwrap_or(0)).max(0);
        let slot = &self.state.slots[index];
        let Phase::Running { since } = slot.phase else { return };
        if slot.probing[kind as usize].asked {
            return;
        }
        let due_at = match slot.probing[kind as usize].due_at {
            // A clock that was set back must not silence a probe.
            Some(at) => at.min(after(self.now, period_seconds)),
            None => {
                let delayed = after(since, delay_seconds).min(after(self.now, delay_seconds)).max(self.now);
                // A pod that waits to be ready is asked at once.
                let at_once = kind == ProbeKind::Readiness && !slot.ready;
                if at_once { delayed } else { spread(delayed, period_seconds, &self.identity(index), kind) }
            }
        };
        self.state.slots[index].probing[kind as usize].due_at = Some(due_at);
        if self.now < due_at {
            return self.wake_at(due_at);
        }
        let Some(container_id) = self.state.slots[index].container_id.clone() else { return };
        if self.state.slots.iter().flat_map(|slot| &slot.probing).filter(|probing| probing.asked).count() >= PROBES_MAX
        {
            return;
        }
        let probing = &mut self.state.slots[index].probing[kind as usize];
        probing.asked = true;
        probing.due_at = Some(after(due_at, period_seconds).max(self.now));
        self.ask(Effect::Probe { container_id, slot: index, kind });
    }

    /// Names the container's life among all of the node.
    fn identity(&self, index: usize) -> (String, String) {
        (self.pod.metadata.uid.clone().unwrap_or_default(), self.state.slots[index].name.clone())
    }

    pub(super) fn probed(&mut self, container_id: &str, kind: ProbeKind, outcome: Outcome) {
        let Some(index) = self.running_slot(container_id) else { return };
        self.state.slots[index].probing[kind as usize].asked = false;
        if !self.is_probed(index, kind) {
            return;
        }
        let words = kind.words();
        let success = match outcome {
            Outcome::Success => true,
            Outcome::Warning(message) => {
                self.note_slot(index, true, "ProbeWarning", format!("{words} probe warning: {message}"));
                true
            }
            Outcome::Failure(message) => {
                self.note_slot(index, true, "Unhealthy", format!("{words} probe failed: {message}"));
                false
            }
            Outcome::Error(message) => {
                let text = format!("{words} probe errored and resulted in unknown state: {message}");
                return self.note_slot(index, true, "Unhealthy", text);
            }
        };
        let threshold = self.probe_of(index, kind).map_or(1, |probe| threshold(probe, success));
        let slot = &mut self.state.slots[index];
        let probing = &mut slot.probing[kind as usize];
        // Beyond the threshold nothing is counted, so that an answer that says nothing new changes nothing.
        probing.run = if probing.last == Some(success) { (probing.run + 1).min(threshold) } else { 1 };
        probing.last = Some(success);
        if probing.run < threshold {
            return;
        }
        match (kind, success) {
            (ProbeKind::Readiness, ready) => slot.ready = ready,
            (ProbeKind::Startup, true) => slot.started = true,
            (ProbeKind::Liveness, true) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, false) => self.condemn(index, kind),
        }
    }

    /// Kills a container that failed its startup or liveness probe.
    fn condemn(&mut self, index: usize, kind: ProbeKind) {
        let own = self.probe_of(index, kind).and_then(|probe| probe.termination_grace_period_seconds);
        let grace_seconds = own.unwrap_or_else(|| self.grace_seconds()).max(0);
        let policy = self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        let stays_down = policy == Some("Never") && self.state.slots[index].role != Role::Sidecar;
        let end = if stays_down { "" } else { ", will be restarted" };
        let slot = &mut self.state.slots[index];
        slot.unhealthy = true;
        let text = format!("Container {} failed {} probe{end}", slot.name, kind.words().to_lowercase());
        self.signal_stop(index, after(self.now, grace_seconds), &text);
    }
}

/// Somewhere in the period that begins at `from`, always the same for one probe: pods that start together, after a
/// reboot above all, are not probed together. The kubelet's ticks, which are older than the container, do the same.
fn spread(from: Timestamp, period_seconds: i64, identity: &(String, String), kind: ProbeKind) -> Timestamp {
    let mut hasher = DefaultHasher::new();
    (identity, kind).hash(&mut hasher);
    let part = i64::try_from(hasher.finish() % 1000).expect("less than 1000");
    from.checked_add(SignedDuration::from_millis(period_seconds.saturating_mul(part))).unwrap_or(Timestamp::MAX)
}
