//! A Deployment's conditions, with Kubernetes' reasons and messages.

use control_api::view::Time;
use control_api::view::apps::DeploymentCondition;

use super::rollout::Rollout;

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
/// `progressDeadlineSeconds` of this value means none.
const NO_DEADLINE: i32 = i32::MAX;

/// Where the present set came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Existing,
    Created,
}

pub(super) fn deadline_seconds(rollout: &Rollout) -> Option<i32> {
    rollout.spec.progress_deadline_seconds.filter(|seconds| *seconds != NO_DEADLINE)
}

pub(super) fn find<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

pub(super) fn reason<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> &'a str {
    find(conditions, kind).and_then(|condition| condition.reason.as_deref()).unwrap_or("")
}

/// Sets a condition; the same status and reason leave it as it is, unless `renew` asks for a new update time.
pub(super) fn set(rollout: &mut Rollout, kind: &str, status: &str, reason: &str, message: String, renew: bool) {
    let now = Time(rollout.world.now_in_seconds());
    let current = rollout.conditions.iter().position(|condition| condition.type_ == kind);
    let mut transition = Some(now.clone());
    if let Some(at) = current {
        let condition = &rollout.conditions[at];
        if condition.status == status {
            if condition.reason.as_deref() == Some(reason) && !renew {
                return;
            }
            transition = condition.last_transition_time.clone();
        }
        rollout.conditions.remove(at);
    }
    rollout.conditions.push(DeploymentCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(now),
        last_transition_time: transition,
    });
}

/// Time spent paused does not count towards the deadline.
pub(super) fn note_pause(rollout: &mut Rollout) {
    if deadline_seconds(rollout).is_none() {
        return;
    }
    let current = reason(&rollout.conditions, PROGRESSING);
    if current == "ProgressDeadlineExceeded" {
        return;
    }
    let noted = current == "DeploymentPaused";
    if rollout.paused() && !noted {
        set(rollout, PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused".to_owned(), false);
    } else if !rollout.paused() && noted {
        set(rollout, PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned(), false);
    }
}

/// A set found or made is progress.
pub(super) fn note_set(rollout: &mut Rollout, name: &str, found: Found) {
    if deadline_seconds(rollout).is_none() {
        return;
    }
    match found {
        Found::Created => {
            let message = format!("Created new replica set \"{name}\"");
            set(rollout, PROGRESSING, "True", "NewReplicaSetCreated", message, false);
        }
        Found::Existing if find(&rollout.conditions, PROGRESSING).is_none() => {
            let message = format!("Found new replica set \"{name}\"");
            set(rollout, PROGRESSING, "True", "FoundNewReplicaSet", message, false);
        }
        Found::Existing => {}
    }
}
