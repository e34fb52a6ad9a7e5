//! Validation on create, on update and on status updates, in Kubernetes' field paths and words.
//!
//! In reading order: [`meta`] what every kind shares, one file a kind, and for pods [`spec`], [`container`],
//! [`volume`] and their parts; [`unsupported`] lists what is refused only because it is not built yet.

mod certificate;
mod check;
mod container;
mod data;
mod endpoints;
mod env;
mod ephemeral;
mod event;
mod job;
mod lease;
mod meta;
mod network_policy;
mod node;
mod pod;
mod port;
mod probe;
mod resources;
mod role;
mod scheduling;
mod selector;
mod service;
mod spec;
mod storage;
mod unsupported;
mod volume;
mod workload;

use serde_json::Value;

use crate::field::FieldError;
use crate::resource::Resource;

/// Complaints about a new object, after defaulting and [`crate::strategy::prepare_create`].
pub fn create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    meta::create(resource, object, &mut wrong);
    ephemeral::refuse_new(object, &mut wrong);
    contents(resource, object, &mut wrong);
    wrong
}

/// Complaints about `new` as the successor of `old`, after defaulting and [`crate::strategy::prepare_update`].
///
/// Not for `binding`: it sets `spec.nodeName`, which an update may not.
pub fn update(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    meta::update(new, old, &mut wrong);
    if resource.kind != "Pod" {
        ephemeral::refuse_new(new, &mut wrong);
    }
    // An unchanged spec was valid when it came; a stricter later version must not hold up finalizers or labels.
    if new.get("spec") != old.get("spec") || !keeps_old_spec(resource) {
        contents(resource, new, &mut wrong);
    }
    match resource.kind {
        "Pod" => pod::update(new, old, &mut wrong),
        "Deployment" | "ReplicaSet" | "DaemonSet" => workload::update(new, old, &mut wrong),
        "ConfigMap" => data::config_map_update(new, old, &mut wrong),
        "Secret" => data::secret_update(new, old, &mut wrong),
        "Node" => node::update(new, old, &mut wrong),
        "Job" => job::update(new, old, &mut wrong),
        "ControllerRevision" => workload::controller_revision_update(new, old, &mut wrong),
        "Service" => service::update(new, old, &mut wrong),
        "EndpointSlice" => endpoints::slice_update(new, old, &mut wrong),
        "RoleBinding" | "ClusterRoleBinding" => role::binding_update(new, old, &mut wrong),
        "PersistentVolume" => storage::volume_update(new, old, &mut wrong),
        "PersistentVolumeClaim" => storage::claim_update(new, old, &mut wrong),
        "StorageClass" => storage::class_update(new, old, &mut wrong),
        "CertificateSigningRequest" => certificate::update(new, old, None, &mut wrong),
        _ => {}
    }
    wrong
}

fn keeps_old_spec(resource: &Resource) -> bool {
    matches!(
        resource.kind,
        "Pod"
            | "Deployment"
            | "ReplicaSet"
            | "ReplicationController"
            | "DaemonSet"
            | "Job"
            | "CertificateSigningRequest"
    )
}

/// Complaints about `new` as the successor of `old` through the `status` subresource.
pub fn update_status(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    meta::update(new, old, &mut wrong);
    match resource.kind {
        "Deployment" | "ReplicaSet" | "ReplicationController" => workload::status(new, &mut wrong),
        "DaemonSet" => workload::daemon_set_status(new, &mut wrong),
        "Job" => job::status(new, &mut wrong),
        "Service" => service::status(new, &mut wrong),
        "PersistentVolume" => storage::volume_status(new, &mut wrong),
        "PersistentVolumeClaim" => storage::claim_status(new, &mut wrong),
        "CertificateSigningRequest" => certificate::update(new, old, Some("status"), &mut wrong),
        _ => {}
    }
    wrong
}

/// Complaints about `new` as the successor of `old` through a certificate request's `approval`.
pub fn update_approval(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    meta::update(new, old, &mut wrong);
    certificate::update(new, old, Some("approval"), &mut wrong);
    wrong
}

/// Complaints about `new` as the successor of `old` through a pod's `ephemeralcontainers`.
pub fn update_ephemeral(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    meta::update(new, old, &mut wrong);
    ephemeral::update(new, old, &mut wrong);
    wrong
}

fn contents(resource: &Resource, object: &Value, wrong: &mut Vec<FieldError>) {
    match resource.kind {
        "Pod" => pod::create(object, wrong),
        "Deployment" => workload::deployment(object, wrong),
        "ReplicaSet" => workload::replica_set(object, wrong),
        "ReplicationController" => workload::replication_controller(object, wrong),
        "ConfigMap" => data::config_map(object, wrong),
        "Secret" => data::secret(object, wrong),
        "Node" => node::create(object, wrong),
        "Lease" => lease::create(object, wrong),
        "Event" => event::create(object, wrong),
        "DaemonSet" => workload::daemon_set(object, wrong),
        "ControllerRevision" => workload::controller_revision(object, wrong),
        "Job" => job::create(object, wrong),
        "Service" => service::create(object, wrong),
        "Endpoints" => endpoints::endpoints(object, wrong),
        "EndpointSlice" => endpoints::slice(object, wrong),
        "NetworkPolicy" => network_policy::create(object, wrong),
        "Role" | "ClusterRole" => role::role(object, resource, wrong),
        "RoleBinding" | "ClusterRoleBinding" => role::binding(object, resource, wrong),
        "PersistentVolume" => storage::volume(object, wrong),
        "PersistentVolumeClaim" => storage::claim(object, wrong),
        "StorageClass" => storage::class(object, wrong),
        "CertificateSigningRequest" => certificate::create(object, wrong),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
