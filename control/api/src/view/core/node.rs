//! A node, its taints, and what a pod tolerates.

use std::collections::BTreeMap;

use super::super::meta::ObjectMeta;
use super::super::{Quantity, Time};
use super::pod::PreferredSchedulingTerm;

view! {
    ContainerImage {
        names: Option<Vec<String>> = "names",
        size_bytes: Option<i64> = "sizeBytes",
    }
    Node {
        metadata: ObjectMeta = "metadata",
        spec: Option<NodeSpec> = "spec",
        status: Option<NodeStatus> = "status",
    }
    NodeAddress {
        address: String = "address",
        type_: String = "type",
    }
    NodeAffinity {
        preferred_during_scheduling_ignored_during_execution: Option<Vec<PreferredSchedulingTerm>> = "preferredDuringSchedulingIgnoredDuringExecution",
        required_during_scheduling_ignored_during_execution: Option<NodeSelector> = "requiredDuringSchedulingIgnoredDuringExecution",
    }
    NodeSpec {
        pod_cidr: Option<String> = "podCIDR",
        taints: Option<Vec<Taint>> = "taints",
        unschedulable: Option<bool> = "unschedulable",
    }
    NodeStatus {
        addresses: Option<Vec<NodeAddress>> = "addresses",
        allocatable: Option<BTreeMap<String, Quantity>> = "allocatable",
        capacity: Option<BTreeMap<String, Quantity>> = "capacity",
        conditions: Option<Vec<NodeCondition>> = "conditions",
        images: Option<Vec<ContainerImage>> = "images",
        node_info: Option<NodeSystemInfo> = "nodeInfo",
    }
    NodeSystemInfo {
        architecture: String = "architecture",
        boot_id: String = "bootID",
        kernel_version: String = "kernelVersion",
        machine_id: String = "machineID",
        operating_system: String = "operatingSystem",
        os_image: String = "osImage",
    }
}

record! {
    NodeCondition {
        last_heartbeat_time: Option<Time> = "lastHeartbeatTime",
        last_transition_time: Option<Time> = "lastTransitionTime",
        message: Option<String> = "message",
        reason: Option<String> = "reason",
        status: String = "status",
        type_: String = "type",
    }
    NodeSelector {
        node_selector_terms: Vec<NodeSelectorTerm> = "nodeSelectorTerms",
    }
    NodeSelectorRequirement {
        key: String = "key",
        operator: String = "operator",
        values: Option<Vec<String>> = "values",
    }
    NodeSelectorTerm {
        match_expressions: Option<Vec<NodeSelectorRequirement>> = "matchExpressions",
        match_fields: Option<Vec<NodeSelectorRequirement>> = "matchFields",
    }
    Taint {
        effect: String = "effect",
        key: String = "key",
        time_added: Option<Time> = "timeAdded",
        value: Option<String> = "value",
    }
    Toleration {
        effect: Option<String> = "effect",
        key: Option<String> = "key",
        operator: Option<String> = "operator",
        toleration_seconds: Option<i64> = "tolerationSeconds",
        value: Option<String> = "value",
    }
}
