//! What is mounted into a pod, and the cluster's volumes and claims.

use std::collections::BTreeMap;

use super::super::meta::{LabelSelector, ObjectMeta};
use super::super::{Quantity, Time};
use super::container::{ObjectFieldSelector, ResourceFieldSelector};
use super::node::NodeSelector;
use super::object::ObjectReference;

view! {
    ConfigMapProjection {
        items: Option<Vec<KeyToPath>> = "items",
        name: String = "name",
        optional: Option<bool> = "optional",
    }
    ConfigMapVolumeSource {
        default_mode: Option<i32> = "defaultMode",
        items: Option<Vec<KeyToPath>> = "items",
        name: String = "name",
        optional: Option<bool> = "optional",
    }
    DownwardAPIProjection {
        items: Option<Vec<DownwardAPIVolumeFile>> = "items",
    }
    DownwardAPIVolumeFile {
        field_ref: Option<ObjectFieldSelector> = "fieldRef",
        mode: Option<i32> = "mode",
        path: String = "path",
        resource_field_ref: Option<ResourceFieldSelector> = "resourceFieldRef",
    }
    DownwardAPIVolumeSource {
        default_mode: Option<i32> = "defaultMode",
        items: Option<Vec<DownwardAPIVolumeFile>> = "items",
    }
    EmptyDirVolumeSource {
        medium: Option<String> = "medium",
        size_limit: Option<Quantity> = "sizeLimit",
    }
    HostPathVolumeSource {
        path: String = "path",
        type_: Option<String> = "type",
    }
    KeyToPath {
        key: String = "key",
        mode: Option<i32> = "mode",
        path: String = "path",
    }
    LocalVolumeSource {
        path: String = "path",
    }
    PersistentVolume {
        metadata: ObjectMeta = "metadata",
        spec: Option<PersistentVolumeSpec> = "spec",
        status: Option<PersistentVolumeStatus> = "status",
    }
    PersistentVolumeClaim {
        metadata: ObjectMeta = "metadata",
        spec: Option<PersistentVolumeClaimSpec> = "spec",
        status: Option<PersistentVolumeClaimStatus> = "status",
    }
    PersistentVolumeClaimSpec {
        access_modes: Option<Vec<String>> = "accessModes",
        resources: Option<VolumeResourceRequirements> = "resources",
        selector: Option<LabelSelector> = "selector",
        storage_class_name: Option<String> = "storageClassName",
        volume_mode: Option<String> = "volumeMode",
        volume_name: Option<String> = "volumeName",
    }
    PersistentVolumeClaimVolumeSource {
        claim_name: String = "claimName",
        read_only: Option<bool> = "readOnly",
    }
    PersistentVolumeSpec {
        access_modes: Option<Vec<String>> = "accessModes",
        capacity: Option<BTreeMap<String, Quantity>> = "capacity",
        claim_ref: Option<ObjectReference> = "claimRef",
        host_path: Option<HostPathVolumeSource> = "hostPath",
        local: Option<LocalVolumeSource> = "local",
        node_affinity: Option<VolumeNodeAffinity> = "nodeAffinity",
        storage_class_name: Option<String> = "storageClassName",
        volume_mode: Option<String> = "volumeMode",
    }
    PersistentVolumeStatus {
        phase: Option<String> = "phase",
    }
    ProjectedVolumeSource {
        default_mode: Option<i32> = "defaultMode",
        sources: Option<Vec<VolumeProjection>> = "sources",
    }
    SecretProjection {
        items: Option<Vec<KeyToPath>> = "items",
        name: String = "name",
        optional: Option<bool> = "optional",
    }
    SecretVolumeSource {
        default_mode: Option<i32> = "defaultMode",
        items: Option<Vec<KeyToPath>> = "items",
        optional: Option<bool> = "optional",
        secret_name: Option<String> = "secretName",
    }
    ServiceAccountTokenProjection {
        audience: Option<String> = "audience",
        expiration_seconds: Option<i64> = "expirationSeconds",
        path: String = "path",
    }
    Volume {
        config_map: Option<ConfigMapVolumeSource> = "configMap",
        downward_api: Option<DownwardAPIVolumeSource> = "downwardAPI",
        empty_dir: Option<EmptyDirVolumeSource> = "emptyDir",
        host_path: Option<HostPathVolumeSource> = "hostPath",
        name: String = "name",
        persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource> = "persistentVolumeClaim",
        projected: Option<ProjectedVolumeSource> = "projected",
        secret: Option<SecretVolumeSource> = "secret",
    }
    VolumeNodeAffinity {
        required: Option<NodeSelector> = "required",
    }
    VolumeProjection {
        config_map: Option<ConfigMapProjection> = "configMap",
        downward_api: Option<DownwardAPIProjection> = "downwardAPI",
        secret: Option<SecretProjection> = "secret",
        service_account_token: Option<ServiceAccountTokenProjection> = "serviceAccountToken",
    }
    VolumeResourceRequirements {
        requests: Option<BTreeMap<String, Quantity>> = "requests",
    }
}

record! {
    ModifyVolumeStatus {
        status: String = "status",
        target_volume_attributes_class_name: Option<String> = "targetVolumeAttributesClassName",
    }
    PersistentVolumeClaimCondition {
        last_probe_time: Option<Time> = "lastProbeTime",
        last_transition_time: Option<Time> = "lastTransitionTime",
        message: Option<String> = "message",
        reason: Option<String> = "reason",
        status: String = "status",
        type_: String = "type",
    }
    PersistentVolumeClaimStatus {
        access_modes: Option<Vec<String>> = "accessModes",
        allocated_resource_statuses: Option<BTreeMap<String, String>> = "allocatedResourceStatuses",
        allocated_resources: Option<BTreeMap<String, Quantity>> = "allocatedResources",
        capacity: Option<BTreeMap<String, Quantity>> = "capacity",
        conditions: Option<Vec<PersistentVolumeClaimCondition>> = "conditions",
        current_volume_attributes_class_name: Option<String> = "currentVolumeAttributesClassName",
        modify_volume_status: Option<ModifyVolumeStatus> = "modifyVolumeStatus",
        phase: Option<String> = "phase",
    }
}
