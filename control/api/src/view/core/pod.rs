//! A pod and what it asks of its node.

use std::collections::BTreeMap;

use super::super::Quantity;
use super::super::meta::ObjectMeta;
use super::container::{Container, SeccompProfile};
use super::node::{NodeAffinity, NodeSelectorTerm, Toleration};
use super::status::PodStatus;
use super::volume::Volume;

view! {
    Affinity {
        node_affinity: Option<NodeAffinity> = "nodeAffinity",
    }
    HostAlias {
        hostnames: Option<Vec<String>> = "hostnames",
        ip: String = "ip",
    }
    LocalObjectReference {
        name: String = "name",
    }
    Pod {
        metadata: ObjectMeta = "metadata",
        spec: Option<PodSpec> = "spec",
        status: Option<PodStatus> = "status",
    }
    PodDNSConfig {
        nameservers: Option<Vec<String>> = "nameservers",
        options: Option<Vec<PodDNSConfigOption>> = "options",
        searches: Option<Vec<String>> = "searches",
    }
    PodDNSConfigOption {
        name: Option<String> = "name",
        value: Option<String> = "value",
    }
    PodReadinessGate {
        condition_type: String = "conditionType",
    }
    PodSchedulingGate {
        name: String = "name",
    }
    PodSecurityContext {
        fs_group: Option<i64> = "fsGroup",
        fs_group_change_policy: Option<String> = "fsGroupChangePolicy",
        run_as_group: Option<i64> = "runAsGroup",
        run_as_non_root: Option<bool> = "runAsNonRoot",
        run_as_user: Option<i64> = "runAsUser",
        seccomp_profile: Option<SeccompProfile> = "seccompProfile",
        supplemental_groups: Option<Vec<i64>> = "supplementalGroups",
        supplemental_groups_policy: Option<String> = "supplementalGroupsPolicy",
        sysctls: Option<Vec<Sysctl>> = "sysctls",
    }
    PodSpec {
        active_deadline_seconds: Option<i64> = "activeDeadlineSeconds",
        affinity: Option<Affinity> = "affinity",
        containers: Vec<Container> = "containers",
        dns_config: Option<PodDNSConfig> = "dnsConfig",
        dns_policy: Option<String> = "dnsPolicy",
        enable_service_links: Option<bool> = "enableServiceLinks",
        ephemeral_containers: Option<Vec<Container>> = "ephemeralContainers",
        host_aliases: Option<Vec<HostAlias>> = "hostAliases",
        host_ipc: Option<bool> = "hostIPC",
        host_network: Option<bool> = "hostNetwork",
        host_pid: Option<bool> = "hostPID",
        host_users: Option<bool> = "hostUsers",
        hostname: Option<String> = "hostname",
        image_pull_secrets: Option<Vec<LocalObjectReference>> = "imagePullSecrets",
        init_containers: Option<Vec<Container>> = "initContainers",
        node_name: Option<String> = "nodeName",
        node_selector: Option<BTreeMap<String, String>> = "nodeSelector",
        overhead: Option<BTreeMap<String, Quantity>> = "overhead",
        priority: Option<i32> = "priority",
        readiness_gates: Option<Vec<PodReadinessGate>> = "readinessGates",
        restart_policy: Option<String> = "restartPolicy",
        scheduler_name: Option<String> = "schedulerName",
        scheduling_gates: Option<Vec<PodSchedulingGate>> = "schedulingGates",
        security_context: Option<PodSecurityContext> = "securityContext",
        service_account_name: Option<String> = "serviceAccountName",
        set_hostname_as_fqdn: Option<bool> = "setHostnameAsFQDN",
        share_process_namespace: Option<bool> = "shareProcessNamespace",
        subdomain: Option<String> = "subdomain",
        termination_grace_period_seconds: Option<i64> = "terminationGracePeriodSeconds",
        tolerations: Option<Vec<Toleration>> = "tolerations",
        volumes: Option<Vec<Volume>> = "volumes",
    }
    PodTemplateSpec {
        metadata: Option<ObjectMeta> = "metadata",
        spec: Option<PodSpec> = "spec",
    }
    PreferredSchedulingTerm {
        preference: NodeSelectorTerm = "preference",
        weight: i32 = "weight",
    }
    Sysctl {
        name: String = "name",
        value: String = "value",
    }
}
