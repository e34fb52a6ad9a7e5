//! What a state lacks on its way up: mounts, sandbox, images, containers, restarts.

use super::delay::{after, words};
use super::take::PULL_ERROR_SHOWN_SECONDS;
use super::{Busy, Effect, Ended, Failure, Phase, Role, Stage, Step, pod_words};

impl Step<'_> {
    pub(super) fn advance(&mut self) {
        match self.state.stage {
            Stage::New | Stage::Delayed { .. } if self.state.stop.is_some() => self.tear_down(),
            Stage::New => {
                self.state.stage = Stage::Mounting;
                self.ask(Effect::Mount);
            }
            Stage::Delayed { until } if self.now >= until => {
                self.state.stage = Stage::Mounting;
                self.ask(Effect::Mount);
            }
            Stage::Delayed { until } => self.wake_at(until),
            Stage::Mounting | Stage::Sandboxing | Stage::Tearing | Stage::Gone => {}
            Stage::Up => self.up(),
            Stage::Down if self.state.deleted || self.state.halted => {
                self.state.stage = Stage::Gone;
                self.ask(Effect::Forget);
            }
            Stage::Down => {}
        }
    }

    fn up(&mut self) {
        self.deadline();
        if self.state.stop.is_none() && self.finished() {
            self.stop_within(self.grace_seconds());
        }
        if self.state.stop.is_some() {
            return self.wind_down();
        }
        if self.state.sandbox_gone {
            return self.renew_sandbox();
        }
        for index in 0..self.state.slots.len() {
            let role = self.state.slots[index].role;
            match role {
                Role::Ephemeral => continue,
                Role::Init if self.state.begun => continue,
                Role::Main if !self.state.initialized() => break,
                Role::Main => self.state.begun = true,
                Role::Init | Role::Sidecar => {}
            }
            self.drive(index);
            if !self.state.begun && !self.state.slots[index].lets_next_start() {
                break;
            }
        }
        // They wait for nobody.
        for index in 0..self.state.slots.len() {
            if self.state.slots[index].role == Role::Ephemeral {
                self.drive(index);
            }
        }
    }

    /// Once everything that was asked of the lost one has been answered. At once, unless no container started in it.
    fn renew_sandbox(&mut self) {
        if self.state.slots.iter().any(|slot| slot.busy == Busy::Start) {
            return;
        }
        self.note(false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        self.sandbox_lost();
        if self.state.stage == Stage::New {
            let seconds = self.state.setup.current(self.now);
            self.state.setup.grow(self.now);
            self.state.stage = Stage::Delayed { until: after(self.now, seconds) };
        }
        self.advance();
    }

    fn deadline(&mut self) {
        let Some(seconds) = self.pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds) else { return };
        if self.state.failure.is_some() || self.finished() {
            return;
        }
        let deadline = after(self.state.started, seconds);
        if self.now < deadline {
            return self.wake_at(deadline);
        }
        let message = "Pod was active on the node longer than the specified deadline".to_owned();
        self.note(false, "DeadlineExceeded", message.clone());
        self.fail(Failure { reason: "DeadlineExceeded".to_owned(), message, disrupted: false });
    }

    fn drive(&mut self, index: usize) {
        let slot = &self.state.slots[index];
        if slot.busy != Busy::No {
            return;
        }
        match slot.phase.clone() {
            Phase::Waiting { until: Some(until), .. } if self.now < until => self.wait(index, until),
            Phase::Waiting { .. } => self.ensure_image(index),
            Phase::Running { .. } => {
                self.redefine(index);
                self.probe(index);
            }
            Phase::Ended(ended) => self.ended(index, &ended),
        }
    }

    /// Turns ErrImagePull into ImagePullBackOff once it has been shown, as the kubelet's next sync does.
    fn wait(&mut self, index: usize, until: jiff::Timestamp) {
        self.wake_at(until);
        let image = self.spec_image(index);
        let slot = &self.state.slots[index];
        let Phase::Waiting { reason, message, .. } = &slot.phase else { return };
        if reason != "ErrImagePull" {
            return;
        }
        let counted = slot.pull.counted_at.unwrap_or(self.now);
        let turn = after(counted, PULL_ERROR_SHOWN_SECONDS);
        if self.now < turn {
            return self.wake_at(turn);
        }
        let text = format!("Back-off pulling image \"{image}\"");
        let message = format!("{text}: ErrImagePull: {message}");
        let reason = "ImagePullBackOff".to_owned();
        self.state.slots[index].phase = Phase::Waiting { reason, message, until: Some(until) };
        self.note_slot(index, false, "BackOff", text);
        self.note_slot(index, true, "Failed", "Error: ImagePullBackOff");
    }

    fn ensure_image(&mut self, index: usize) {
        self.state.slots[index].busy = Busy::Image;
        self.ask(Effect::EnsureImage { slot: index });
    }

    pub(super) fn start(&mut self, index: usize) {
        let slot = &mut self.state.slots[index];
        let attempt = slot.made;
        slot.made += 1;
        slot.busy = Busy::Start;
        self.ask(Effect::Start { slot: index, attempt });
    }

    /// A new image in the spec replaces the running container, whatever the restart policy.
    fn redefine(&mut self, index: usize) {
        if self.state.slots[index].image == self.spec_image(index) {
            return self.kill_due(index);
        }
        if !self.state.slots[index].signalled {
            let name = self.state.slots[index].name.clone();
            let text = format!("Container {name} definition changed, will be restarted");
            self.signal_stop(index, after(self.now, self.grace_seconds()), &text);
        }
        self.kill_due(index);
    }

    fn ended(&mut self, index: usize, ended: &Ended) {
        let redefined = self.state.slots[index].image != self.spec_image(index);
        if redefined {
            self.state.slots[index].crash.reset();
            return self.ensure_image(index);
        }
        if !self.restarts(index, ended) {
            return;
        }
        let slot = &mut self.state.slots[index];
        let seconds = slot.crash.current(ended.finished_at);
        let until = after(ended.finished_at, seconds);
        slot.crash.grow(self.now.max(until));
        if seconds == 0 || self.now >= until {
            return self.ensure_image(index);
        }
        slot.last = Some(ended.clone());
        let name = slot.name.clone();
        let pod = pod_words(self.pod);
        let message = format!("back-off {} restarting failed container={name} pod={pod}", words(seconds));
        let reason = "CrashLoopBackOff".to_owned();
        slot.phase = Phase::Waiting { reason, message, until: Some(until) };
        self.note_slot(index, true, "BackOff", format!("Back-off restarting failed container {name} in pod {pod}"));
        self.wake_at(until);
    }

    fn restarts(&self, index: usize, ended: &Ended) -> bool {
        let policy = self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
        let slot = &self.state.slots[index];
        match (slot.role, policy) {
            (Role::Sidecar, _) => true,
            (Role::Main, "OnFailure") if slot.unhealthy => true,
            (Role::Init, "Never") => false,
            (Role::Init, _) => ended.code != 0,
            (Role::Main, "Always") => true,
            (Role::Main, "OnFailure") => ended.code != 0,
            (Role::Main | Role::Ephemeral, _) => false,
        }
    }

    /// Nothing of the pod will run again by itself.
    pub(super) fn finished(&self) -> bool {
        let over = |index: usize| match &self.state.slots[index].phase {
            Phase::Ended(ended) => {
                let slot = &self.state.slots[index];
                slot.busy == Busy::No && slot.image == self.spec_image(index) && !self.restarts(index, ended)
            }
            _ => false,
        };
        let slots = &self.state.slots;
        let failed = |ended: &Phase| matches!(ended, Phase::Ended(ended) if ended.code != 0);
        let init_failed = (0..slots.len()).any(|i| slots[i].is_initial() && failed(&slots[i].phase) && over(i));
        let mains: Vec<usize> = (0..slots.len()).filter(|i| slots[*i].role == Role::Main).collect();
        init_failed || (self.state.initialized() && !mains.is_empty() && mains.into_iter().all(over))
    }
}
