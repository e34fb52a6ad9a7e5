//! `apps/v1`.

use super::core::PodTemplateSpec;
use super::meta::{LabelSelector, ObjectMeta};
use super::{IntOrString, Time};

view! {
    DaemonSet {
        metadata: ObjectMeta = "metadata",
        spec: Option<DaemonSetSpec> = "spec",
        status: Option<DaemonSetStatus> = "status",
    }
    DaemonSetSpec {
        min_ready_seconds: Option<i32> = "minReadySeconds",
        revision_history_limit: Option<i32> = "revisionHistoryLimit",
        selector: LabelSelector = "selector",
        template: PodTemplateSpec = "template",
        update_strategy: Option<DaemonSetUpdateStrategy> = "updateStrategy",
    }
    DaemonSetStatus {
        collision_count: Option<i32> = "collisionCount",
        current_number_scheduled: i32 = "currentNumberScheduled",
        desired_number_scheduled: i32 = "desiredNumberScheduled",
        number_available: Option<i32> = "numberAvailable",
        number_misscheduled: i32 = "numberMisscheduled",
        number_ready: i32 = "numberReady",
        number_unavailable: Option<i32> = "numberUnavailable",
        observed_generation: Option<i64> = "observedGeneration",
        updated_number_scheduled: Option<i32> = "updatedNumberScheduled",
    }
    DaemonSetUpdateStrategy {
        rolling_update: Option<RollingUpdateDaemonSet> = "rollingUpdate",
        type_: Option<String> = "type",
    }
    Deployment {
        metadata: ObjectMeta = "metadata",
        spec: Option<DeploymentSpec> = "spec",
        status: Option<DeploymentStatus> = "status",
    }
    DeploymentSpec {
        min_ready_seconds: Option<i32> = "minReadySeconds",
        paused: Option<bool> = "paused",
        progress_deadline_seconds: Option<i32> = "progressDeadlineSeconds",
        replicas: Option<i32> = "replicas",
        revision_history_limit: Option<i32> = "revisionHistoryLimit",
        selector: LabelSelector = "selector",
        strategy: Option<DeploymentStrategy> = "strategy",
        template: PodTemplateSpec = "template",
    }
    DeploymentStatus {
        available_replicas: Option<i32> = "availableReplicas",
        collision_count: Option<i32> = "collisionCount",
        conditions: Option<Vec<DeploymentCondition>> = "conditions",
        observed_generation: Option<i64> = "observedGeneration",
        ready_replicas: Option<i32> = "readyReplicas",
        replicas: Option<i32> = "replicas",
        unavailable_replicas: Option<i32> = "unavailableReplicas",
        updated_replicas: Option<i32> = "updatedReplicas",
    }
    DeploymentStrategy {
        rolling_update: Option<RollingUpdateDeployment> = "rollingUpdate",
        type_: Option<String> = "type",
    }
    ReplicaSet {
        metadata: ObjectMeta = "metadata",
        spec: Option<ReplicaSetSpec> = "spec",
        status: Option<ReplicaSetStatus> = "status",
    }
    ReplicaSetSpec {
        min_ready_seconds: Option<i32> = "minReadySeconds",
        replicas: Option<i32> = "replicas",
        selector: LabelSelector = "selector",
        template: Option<PodTemplateSpec> = "template",
    }
    ReplicaSetStatus {
        available_replicas: Option<i32> = "availableReplicas",
        fully_labeled_replicas: Option<i32> = "fullyLabeledReplicas",
        observed_generation: Option<i64> = "observedGeneration",
        ready_replicas: Option<i32> = "readyReplicas",
        replicas: i32 = "replicas",
    }
    RollingUpdateDaemonSet {
        max_surge: Option<IntOrString> = "maxSurge",
        max_unavailable: Option<IntOrString> = "maxUnavailable",
    }
    RollingUpdateDeployment {
        max_surge: Option<IntOrString> = "maxSurge",
        max_unavailable: Option<IntOrString> = "maxUnavailable",
    }
}

record! {
    DeploymentCondition {
        last_transition_time: Option<Time> = "lastTransitionTime",
        last_update_time: Option<Time> = "lastUpdateTime",
        message: Option<String> = "message",
        reason: Option<String> = "reason",
        status: String = "status",
        type_: String = "type",
    }
}
