//! `batch/v1`.

use super::Time;
use super::core::PodTemplateSpec;
use super::meta::{LabelSelector, ObjectMeta};

view! {
    Job {
        metadata: ObjectMeta = "metadata",
        spec: Option<JobSpec> = "spec",
        status: Option<JobStatus> = "status",
    }
    JobSpec {
        active_deadline_seconds: Option<i64> = "activeDeadlineSeconds",
        backoff_limit: Option<i32> = "backoffLimit",
        completion_mode: Option<String> = "completionMode",
        completions: Option<i32> = "completions",
        parallelism: Option<i32> = "parallelism",
        pod_replacement_policy: Option<String> = "podReplacementPolicy",
        selector: Option<LabelSelector> = "selector",
        suspend: Option<bool> = "suspend",
        template: PodTemplateSpec = "template",
        ttl_seconds_after_finished: Option<i32> = "ttlSecondsAfterFinished",
    }
}

record! {
    JobCondition {
        last_probe_time: Option<Time> = "lastProbeTime",
        last_transition_time: Option<Time> = "lastTransitionTime",
        message: Option<String> = "message",
        reason: Option<String> = "reason",
        status: String = "status",
        type_: String = "type",
    }
    JobStatus {
        active: Option<i32> = "active",
        completed_indexes: Option<String> = "completedIndexes",
        completion_time: Option<Time> = "completionTime",
        conditions: Option<Vec<JobCondition>> = "conditions",
        failed: Option<i32> = "failed",
        failed_indexes: Option<String> = "failedIndexes",
        ready: Option<i32> = "ready",
        start_time: Option<Time> = "startTime",
        succeeded: Option<i32> = "succeeded",
        terminating: Option<i32> = "terminating",
        uncounted_terminated_pods: Option<UncountedTerminatedPods> = "uncountedTerminatedPods",
    }
    UncountedTerminatedPods {
        failed: Option<Vec<String>> = "failed",
        succeeded: Option<Vec<String>> = "succeeded",
    }
}
