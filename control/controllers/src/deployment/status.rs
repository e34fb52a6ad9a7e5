//! A Deployment's counts and what they say about progress.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::condition::{self, AVAILABLE, PROGRESSING};
use super::rollout::Rollout;
use crate::action::Action;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    observed_generation: i64,
    replicas: i32,
    updated: i32,
    ready: i32,
    available: i32,
    unavailable: i32,
    collisions: i32,
}

impl Counts {
    fn now(rollout: &Rollout) -> Self {
        let available: i32 = rollout.sets().map(|set| set.available).sum();
        Self {
            observed_generation: rollout.object.meta.generation,
            replicas: rollout.sets().map(|set| set.status_replicas).sum(),
            updated: rollout.new.as_ref().map_or(0, |set| set.status_replicas),
            ready: rollout.sets().map(|set| set.ready).sum(),
            available,
            unavailable: (rollout.total() - available).max(0),
            collisions: rollout.collisions,
        }
    }

    fn before(rollout: &Rollout) -> Self {
        let status = &rollout.status;
        Self {
            observed_generation: status.observed_generation.unwrap_or(0),
            replicas: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            unavailable: status.unavailable_replicas.unwrap_or(0),
            collisions: status.collision_count.unwrap_or(0),
        }
    }

    /// As a merge patch: counts of zero are left out of the object.
    fn to_value(self) -> Value {
        let count = |value: i32| if value == 0 { Value::Null } else { json!(value) };
        json!({
            "observedGeneration": self.observed_generation, "replicas": count(self.replicas),
            "updatedReplicas": count(self.updated), "readyReplicas": count(self.ready),
            "availableReplicas": count(self.available), "unavailableReplicas": count(self.unavailable),
            "collisionCount": count(self.collisions),
        })
    }
}

/// All pods are of the present template and available.
pub(super) fn is_complete(rollout: &Rollout) -> bool {
    let counts = Counts::now(rollout);
    let wanted = rollout.replicas();
    counts.updated == wanted && counts.replicas == wanted && counts.available == wanted
}

/// Judges progress, then writes the status.
pub(super) fn sync(rollout: &mut Rollout) {
    judge(rollout);
    write(rollout);
}

/// Writes the status where it changed.
pub(super) fn write(rollout: &mut Rollout) {
    let counts = Counts::now(rollout);
    judge_availability(rollout, counts.available);
    let conditions_before = rollout.status.conditions.clone().unwrap_or_default();
    if counts == Counts::before(rollout) && conditions_before == rollout.conditions {
        return;
    }
    let mut status = counts.to_value();
    status["conditions"] = serde_json::to_value(&rollout.conditions).expect("conditions are plain strings and times");
    rollout.actions.push(Action::UpdateStatus { key: rollout.object.key.clone(), status });
}

fn judge_availability(rollout: &mut Rollout, available: i32) {
    if available >= rollout.replicas() - rollout.unavailable_max() {
        let message = "Deployment has minimum availability.".to_owned();
        condition::set(rollout, AVAILABLE, "True", "MinimumReplicasAvailable", message, false);
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        condition::set(rollout, AVAILABLE, "False", "MinimumReplicasUnavailable", message, false);
    }
}

fn judge(rollout: &mut Rollout) {
    if rollout.paused() || rollout.is_ending() {
        return;
    }
    let Some(deadline) = condition::deadline_seconds(rollout) else {
        rollout.conditions.retain(|condition| condition.type_ != PROGRESSING);
        return;
    };
    let counts = Counts::now(rollout);
    let before = Counts::before(rollout);
    let settled = counts.replicas == counts.updated
        && condition::reason(&rollout.conditions, PROGRESSING) == "NewReplicaSetAvailable";
    if settled {
        return;
    }
    let subject = match &rollout.new {
        Some(set) => format!("ReplicaSet \"{}\"", set.name()),
        None => format!("Deployment \"{}\"", rollout.name()),
    };
    let progressed = counts.updated > before.updated
        || counts.replicas - counts.updated < before.replicas - before.updated
        || counts.ready > before.ready
        || counts.available > before.available;
    if is_complete(rollout) {
        let message = format!("{subject} has successfully progressed.");
        condition::set(rollout, PROGRESSING, "True", "NewReplicaSetAvailable", message, false);
    } else if progressed {
        let message = format!("{subject} is progressing.");
        condition::set(rollout, PROGRESSING, "True", "ReplicaSetUpdated", message, true);
    } else {
        watch_deadline(rollout, i64::from(deadline), &subject);
    }
}

/// Says so when there was no progress for too long; else looks again at the deadline.
fn watch_deadline(rollout: &mut Rollout, deadline: i64, subject: &str) {
    let Some(current) = condition::find(&rollout.conditions, PROGRESSING) else { return };
    if matches!(current.reason.as_deref(), Some("ProgressDeadlineExceeded" | "NewReplicaSetAvailable")) {
        return;
    }
    let since = current.last_update_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let left = deadline - rollout.world.age_seconds(since);
    if left < 0 {
        let message = format!("{subject} has timed out progressing.");
        condition::set(rollout, PROGRESSING, "False", "ProgressDeadlineExceeded", message, false);
    } else {
        let wait = Duration::from_secs(u64::try_from(left).unwrap_or(0) + 1);
        rollout.actions.push(Action::RequeueAfter(wait));
    }
}
