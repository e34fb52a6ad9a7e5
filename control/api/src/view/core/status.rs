//! What a node reports of a pod. Written by the agent from scratch, so it has what the agent tells.

use std::collections::BTreeMap;

use super::super::{Quantity, Time};

record! {
    ContainerState {
        running: Option<ContainerStateRunning> = "running",
        terminated: Option<ContainerStateTerminated> = "terminated",
        waiting: Option<ContainerStateWaiting> = "waiting",
    }
    ContainerStateRunning {
        started_at: Option<Time> = "startedAt",
    }
    ContainerStateTerminated {
        container_id: Option<String> = "containerID",
        exit_code: i32 = "exitCode",
        finished_at: Option<Time> = "finishedAt",
        message: Option<String> = "message",
        reason: Option<String> = "reason",
        signal: Option<i32> = "signal",
        started_at: Option<Time> = "startedAt",
    }
    ContainerStateWaiting {
        message: Option<String> = "message",
        reason: Option<String> = "reason",
    }
    ContainerStatus {
        allocated_resources: Option<BTreeMap<String, Quantity>> = "allocatedResources",
        container_id: Option<String> = "containerID",
        image: String = "image",
        image_id: String = "imageID",
        last_state: Option<ContainerState> = "lastState",
        name: String = "name",
        ready: bool = "ready",
        restart_count: i32 = "restartCount",
        started: Option<bool> = "started",
        state: Option<ContainerState> = "state",
        user: Option<ContainerUser> = "user",
        volume_mounts: Option<Vec<VolumeMountStatus>> = "volumeMounts",
    }
    ContainerUser {
        linux: Option<LinuxContainerUser> = "linux",
    }
    HostIP {
        ip: String = "ip",
    }
    LinuxContainerUser {
        gid: i64 = "gid",
        supplemental_groups: Option<Vec<i64>> = "supplementalGroups",
        uid: i64 = "uid",
    }
    PodCondition {
        last_probe_time: Option<Time> = "lastProbeTime",
        last_transition_time: Option<Time> = "lastTransitionTime",
        message: Option<String> = "message",
        observed_generation: Option<i64> = "observedGeneration",
        reason: Option<String> = "reason",
        status: String = "status",
        type_: String = "type",
    }
    PodIP {
        ip: String = "ip",
    }
    PodStatus {
        conditions: Option<Vec<PodCondition>> = "conditions",
        container_statuses: Option<Vec<ContainerStatus>> = "containerStatuses",
        ephemeral_container_statuses: Option<Vec<ContainerStatus>> = "ephemeralContainerStatuses",
        host_ip: Option<String> = "hostIP",
        host_ips: Option<Vec<HostIP>> = "hostIPs",
        init_container_statuses: Option<Vec<ContainerStatus>> = "initContainerStatuses",
        message: Option<String> = "message",
        observed_generation: Option<i64> = "observedGeneration",
        phase: Option<String> = "phase",
        pod_ip: Option<String> = "podIP",
        pod_ips: Option<Vec<PodIP>> = "podIPs",
        qos_class: Option<String> = "qosClass",
        reason: Option<String> = "reason",
        start_time: Option<Time> = "startTime",
    }
    VolumeMountStatus {
        mount_path: String = "mountPath",
        name: String = "name",
        read_only: Option<bool> = "readOnly",
        recursive_read_only: Option<String> = "recursiveReadOnly",
    }
}
