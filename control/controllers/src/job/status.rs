//! What is written of a Job.

use control_api::view::batch::UncountedTerminatedPods;
use serde_json::{Value, json};

use super::indexes;
use super::run::Run;
use crate::action::Action;
use crate::pod;

/// Writes the status where it changed.
pub(super) fn write(run: &mut Run) {
    let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    let some = |value: usize| (value > 0).then(|| number(value));
    let active = run.active().count() + run.created;
    let ready = run.active().filter(|owned| pod::is_ready(&owned.pod)).count();
    let terminating = run.terminating();
    let list = |uids: &std::collections::BTreeSet<String>| {
        (!uids.is_empty()).then(|| uids.iter().cloned().collect::<Vec<String>>())
    };
    let uncounted =
        UncountedTerminatedPods { succeeded: list(&run.uncounted_succeeded), failed: list(&run.uncounted_failed) };
    let status = &mut run.status;
    status.active = some(active);
    status.ready = Some(number(ready));
    status.terminating = Some(number(terminating));
    status.uncounted_terminated_pods = Some(uncounted);
    if run.spec.completion_mode.as_deref() == Some("Indexed") {
        status.succeeded = some(run.completed_indexes.len());
        status.completed_indexes = (!run.completed_indexes.is_empty()).then(|| indexes::write(&run.completed_indexes));
    }
    if run.status == run.before {
        return;
    }
    let mut told = json!(run.status);
    // A merge patch takes away only what it says is null.
    for field in ["active", "succeeded", "failed", "startTime", "completedIndexes"] {
        if told[field].is_null() {
            told[field] = Value::Null;
        }
    }
    for field in ["succeeded", "failed"] {
        if told["uncountedTerminatedPods"][field].is_null() {
            told["uncountedTerminatedPods"][field] = Value::Null;
        }
    }
    run.actions.push(Action::UpdateStatus { key: run.object.key.clone(), status: told });
}
