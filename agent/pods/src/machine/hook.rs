//! Lifecycle hooks: postStart before a container counts as running, preStop before its stop signal.

use control_api::view::core::{Container, LifecycleHandler};
use jiff::Timestamp;

use super::delay::after;
use super::{Effect, Phase, Step};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookKind {
    PostStart,
    PreStop,
}

impl HookKind {
    pub fn of(self, container: &Container) -> Option<&LifecycleHandler> {
        let lifecycle = container.lifecycle.as_ref()?;
        match self {
            Self::PostStart => lifecycle.post_start.as_ref(),
            Self::PreStop => lifecycle.pre_stop.as_ref(),
        }
    }
}

impl Step<'_> {
    fn has_hook(&self, index: usize, hook: HookKind) -> bool {
        let container = super::container(self.pod, &self.state.slots[index].name);
        container.is_some_and(|container| hook.of(container).is_some())
    }

    fn ask_hook(&mut self, slot: usize, hook: HookKind, deadline: Option<Timestamp>) {
        let Some(container_id) = self.state.slots[slot].container_id.clone() else { return };
        self.ask(Effect::Hook { container_id, slot, hook, deadline });
    }

    /// Of a container that has just started.
    pub(super) fn begin_hooks(&mut self, index: usize) {
        let has_post_start = self.has_hook(index, HookKind::PostStart);
        let slot = &mut self.state.slots[index];
        slot.pre_stop = false;
        slot.posted = !has_post_start;
        if has_post_start {
            self.ask_hook(index, HookKind::PostStart, None);
        }
    }

    /// Of a container that an earlier agent has left. postStart never runs twice; preStop is to be whole, so it runs
    /// again in what is left of the grace.
    pub(super) fn resume_hooks(&mut self, index: usize) {
        let slot = &mut self.state.slots[index];
        slot.posted = true;
        let deadline = slot.kill_at;
        if slot.pre_stop {
            self.ask_hook(index, HookKind::PreStop, deadline);
        }
    }

    /// False where there is no such hook.
    pub(super) fn begin_pre_stop(&mut self, index: usize, deadline: Timestamp) -> bool {
        let has_hook = self.has_hook(index, HookKind::PreStop);
        if has_hook {
            self.state.slots[index].pre_stop = true;
            self.ask_hook(index, HookKind::PreStop, Some(deadline));
        }
        has_hook
    }

    /// preStop is done, or has used the grace up.
    pub(super) fn stop_after_hook(&mut self, index: usize) {
        self.state.slots[index].pre_stop = false;
        if self.is_its_turn(index) {
            self.stop_late(index);
        }
        self.kill_due(index);
    }

    pub(super) fn hooked(&mut self, container_id: &str, hook: HookKind, succeeded: bool) {
        let Some(index) = self.running_slot(container_id) else { return };
        let slot = &self.state.slots[index];
        match hook {
            HookKind::PostStart if slot.posted => {}
            HookKind::PostStart if succeeded => self.state.slots[index].posted = true,
            // The words are the kubelet's: what a hook printed may hold secrets.
            HookKind::PostStart => {
                self.note_slot(index, true, "FailedPostStartHook", "PostStartHook failed");
                if !self.state.slots[index].signalled {
                    self.signal_stop(index, after(self.now, self.grace_seconds()), "FailedPostStartHook");
                }
            }
            HookKind::PreStop if slot.pre_stop => {
                if !succeeded {
                    self.note_slot(index, true, "FailedPreStopHook", "PreStopHook failed");
                }
                self.stop_after_hook(index);
            }
            HookKind::PreStop => {}
        }
    }

    /// The slot whose container of this id has not ended.
    pub(super) fn running_slot(&self, container_id: &str) -> Option<usize> {
        self.state.slots.iter().position(|slot| {
            slot.container_id.as_deref() == Some(container_id) && matches!(slot.phase, Phase::Running { .. })
        })
    }
}
