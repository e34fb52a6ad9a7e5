//! What a state lacks on its way down: signals, kills, teardown.

use jiff::Timestamp;

use super::{Busy, Effect, Phase, Role, Signal, Stage, Step};

impl Step<'_> {
    /// Main containers end first, then sidecars, all before one deadline.
    pub(super) fn wind_down(&mut self) {
        let deadline = self.state.stop.map_or(self.now, |stop| stop.deadline);
        let main_alive = self.state.slots.iter().any(|slot| slot.role != Role::Sidecar && slot.alive());
        for index in 0..self.state.slots.len() {
            let slot = &mut self.state.slots[index];
            if slot.busy == Busy::Image {
                slot.busy = Busy::No;
            }
            let waits = slot.role == Role::Sidecar && main_alive;
            if !matches!(slot.phase, Phase::Running { .. }) || (waits && self.now < deadline) {
                continue;
            }
            if !slot.signalled {
                let text = format!("Stopping container {}", slot.name);
                self.signal_stop(index, deadline, &text);
            }
            self.kill_due(index);
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
        if self.now < kill_at {
            self.signal(index, Signal::Stop);
        }
    }

    pub(super) fn kill_due(&mut self, index: usize) {
        let slot = &mut self.state.slots[index];
        let Some(at) = slot.kill_at else { return };
        if self.now < at {
            return self.wake_at(at);
        }
        if !slot.killed {
            slot.killed = true;
            self.signal(index, Signal::Kill);
        }
    }

    fn signal(&mut self, slot: usize, signal: Signal) {
        let Some(container_id) = self.state.slots[slot].container_id.clone() else { return };
        self.ask(Effect::Signal { container_id, slot, signal });
    }

    pub(super) fn tear_down(&mut self) {
        self.state.stage = Stage::Tearing;
        self.ask(Effect::TearDown);
    }
}
