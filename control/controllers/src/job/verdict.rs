//! Whether a Job is over: first it says what its end will be, and when no pod runs any more, that it has come.

use control_client::EventType;

use super::run::{Run, Verdict};
use crate::pod;

const BACKOFF_LIMIT: i32 = 6;
const PROMISE_OF_SUCCESS: &str = "SuccessCriteriaMet";
const PROMISE_OF_FAILURE: &str = "FailureTarget";

pub(super) fn judge(run: &mut Run) {
    suspend_or_resume(run);
    run.verdict = decided(run).or_else(|| failure(run)).or_else(|| success(run));
    let Some(verdict) = run.verdict.clone() else { return };
    let promise = if verdict.complete { PROMISE_OF_SUCCESS } else { PROMISE_OF_FAILURE };
    run.set_condition(promise, "True", &verdict.reason, &verdict.message);
}

/// Called when all pods are told to end: the last word, once none is left.
pub(super) fn conclude(run: &mut Run) {
    let Some(verdict) = run.verdict.clone() else { return };
    let counted = run.uncounted_succeeded.is_empty() && run.uncounted_failed.is_empty();
    if !counted || run.active().next().is_some() || run.terminating() > 0 {
        return;
    }
    let kind = if verdict.complete { "Complete" } else { "Failed" };
    if !run.set_condition(kind, "True", &verdict.reason, &verdict.message) {
        return;
    }
    if verdict.complete {
        run.status.completion_time = Some(run.now());
        run.tell(EventType::Normal, "Completed", "Job completed".to_owned());
    } else {
        let reason = if verdict.reason == "DeadlineExceeded" { "DeadlineExceeded" } else { "BackoffLimitExceeded" };
        run.tell(EventType::Warning, reason, verdict.message);
    }
}

/// What was said before stays true.
fn decided(run: &Run) -> Option<Verdict> {
    let of = |kind: &str, complete| {
        let found = run.condition(kind)?;
        let (reason, message) = (found.reason.clone().unwrap_or_default(), found.message.clone().unwrap_or_default());
        Some(Verdict { complete, reason, message })
    };
    of(PROMISE_OF_FAILURE, false).or_else(|| of(PROMISE_OF_SUCCESS, true))
}

fn failure(run: &mut Run) -> Option<Verdict> {
    let limit = run.spec.backoff_limit.unwrap_or(BACKOFF_LIMIT).max(0);
    let fail = |reason: &str, message: &str| {
        Some(Verdict { complete: false, reason: reason.to_owned(), message: message.to_owned() })
    };
    let limit_count = usize::try_from(limit).unwrap_or(usize::MAX);
    if run.failed() > limit_count || restarts_exceed(run, limit) {
        return fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if run.suspended() {
        return None;
    }
    let (deadline, started) = (run.spec.active_deadline_seconds?, run.status.start_time.as_ref()?.0);
    let left = deadline.saturating_sub(run.world.age_seconds(started));
    if left <= 0 {
        return fail("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    run.look_again(left);
    None
}

/// With `OnFailure`, containers are restarted in their pod, and each restart counts.
fn restarts_exceed(run: &Run, limit: i32) -> bool {
    let template = run.spec.template.spec.as_ref();
    if template.and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let restarts: i32 = run
        .active()
        .filter_map(|owned| owned.pod.status.as_ref())
        .flat_map(|status| status.container_statuses.iter().chain(&status.init_container_statuses).flatten())
        .map(|container| container.restart_count)
        .fold(0, i32::saturating_add);
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

fn success(run: &Run) -> Option<Verdict> {
    let complete = match run.completions() {
        // A queue is empty when one of its pods said so and the others have ended.
        None => run.succeeded() > 0 && !run.pods.iter().any(|owned| !pod::is_finished(&owned.pod)),
        Some(wanted) => run.succeeded() >= wanted && (wanted > 0 || run.active().next().is_none()),
    };
    let (reason, message) = ("CompletionsReached", "Reached expected number of succeeded pods");
    (complete && !run.suspended_without_end()).then(|| Verdict {
        complete,
        reason: reason.to_owned(),
        message: message.to_owned(),
    })
}

impl Run {
    /// A suspended Job can still be complete, but not by wanting nothing.
    fn suspended_without_end(&self) -> bool {
        self.suspended() && self.completions().is_none()
    }
}

fn suspend_or_resume(run: &mut Run) {
    if run.is_deleting() {
        return;
    }
    if run.suspended() {
        if run.set_condition("Suspended", "True", "JobSuspended", "Job suspended") {
            run.tell(EventType::Normal, "Suspended", "Job suspended".to_owned());
        }
        run.status.start_time = None;
        return;
    }
    let was = run.condition("Suspended").is_some();
    if was {
        run.set_condition("Suspended", "False", "JobResumed", "Job resumed");
        run.tell(EventType::Normal, "Resumed", "Job resumed".to_owned());
        run.status.start_time = None;
    }
    if run.status.start_time.is_none() {
        run.status.start_time = Some(run.now());
    }
}
