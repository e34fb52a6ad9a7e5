//! What a state lacks on its way down: signals, kills, teardown.

use jiff::Timestamp;

use super::delay::after;
use super::{Busy, Effect, Phase, Role, Signal, Slot, Stage, Step};

/// What a stop signal is given at least, as the kubelet has it.
const STOP_SECONDS_MIN: i64 = 2;

impl Step<'_> {
    /// Main containers end first, then sidecars, the last one first, all before one deadline. preStop hooks wait for no
    /// turn: only the stop signal does.
    pub(super) fn wind_down(&mut self) {
        let deadline = self.state.stop.map_or(self.now, |stop| stop.deadline);
        for index in 0..self.state.slots.len() {
            let slot = &mut self.state.slots[index];
            if slot.busy == Busy::Image {
                slot.busy = Busy::No;
            }
            if !matches!(slot.phase, Phase::Running { .. }) {
                continue;
            }
            if !slot.signalled {
                let text = format!("Stopping container {}", slot.name);
                self.signal_stop(index, deadline, &text);
            } else if !slot.told && !slot.pre_stop && self.is_its_turn(index) {
                self.stop_late(index);
            }
            self.kill_due(index);
            self.probe(index);
        }
        if !self.state.alive() {
            self.tear_down();
        }
    }

    pub(super) fn signal_stop(&mut self, index: usize, kill_at: Timestamp, text: &str) {
        let slot = &mut self.state.slots[index];
        slot.signalled = true;
        slot.kill_at = Some(kill_at);
        self.note_slot(index, false, "Killing", text);
        if self.now < kill_at && !self.begin_pre_stop(index, kill_at) && self.is_its_turn(index) {
            self.signal(index, Signal::Stop);
        }
    }

    /// Whether nothing that is to end before it lives.
    pub(super) fn is_its_turn(&self, index: usize) -> bool {
        let Some(stop) = self.state.stop.filter(|_| self.state.slots[index].role == Role::Sidecar) else { return true };
        let before = |(other, slot): (usize, &Slot)| slot.alive() && (slot.role != Role::Sidecar || other > index);
        self.now >= stop.deadline || !self.state.slots.iter().enumerate().any(before)
    }

    /// The stop signal for one that waited: however long the others took, it has a moment to act on it.
    pub(super) fn stop_late(&mut self, index: usize) {
        if self.state.stop.is_some_and(|stop| stop.grace_seconds == 0) {
            return;
        }
        let kill_at_min = after(self.now, STOP_SECONDS_MIN);
        let slot = &mut self.state.slots[index];
        slot.kill_at = Some(slot.kill_at.map_or(kill_at_min, |at| at.max(kill_at_min)));
        self.signal(index, Signal::Stop);
    }

    pub(super) fn kill_due(&mut self, index: usize) {
        let slot = &mut self.state.slots[index];
        let Some(at) = slot.kill_at else { return };
        if self.now < at {
            return self.wake_at(at);
        }
        let forced = self.state.stop.is_some_and(|stop| stop.grace_seconds == 0);
        if slot.pre_stop && !forced {
            return self.stop_after_hook(index);
        }
        if !slot.killed {
            slot.killed = true;
            self.signal(index, Signal::Kill);
        }
    }

    pub(super) fn signal(&mut self, slot: usize, signal: Signal) {
        let Some(container_id) = self.state.slots[slot].container_id.clone() else { return };
        self.state.slots[slot].told = true;
        self.ask(Effect::Signal { container_id, slot, signal });
    }

    pub(super) fn tear_down(&mut self) {
        self.state.stage = Stage::Tearing;
        self.ask(Effect::TearDown);
    }
}
