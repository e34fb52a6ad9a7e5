//! Validation on create, on update and on status updates, in Kubernetes' field paths and words.
//!
//! In reading order: [`meta`] what every kind shares, one file a kind, and for pods [`spec`], [`container`],
//! [`volume`] and their parts; [`unsupported`] lists what is refused only because it is not built yet.

mod check;
mod container;
mod data;
mod env;
mod event;
mod lease;
mod meta;
mod node;
mod pod;
mod port;
mod probe;
mod resources;
mod scheduling;
mod selector;
mod spec;
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
    contents(resource, object, &mut wrong);
    wrong
}

/// Complaints about `new` as the successor of `old`, after defaulting and [`crate::strategy::prepare_update`].
///
/// Not for `binding`: it sets `spec.nodeName`, which an update may not.
pub fn update(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    meta::update(new, old, &mut wrong);
    // An unchanged spec was valid when it came; a stricter later version must not hold up finalizers or labels.
    if new.get("spec") != old.get("spec") || !matches!(resource.kind, "Pod" | "Deployment" | "ReplicaSet") {
        contents(resource, new, &mut wrong);
    }
    match resource.kind {
        "Pod" => pod::update(new, old, &mut wrong),
        "Deployment" | "ReplicaSet" => workload::update(new, old, &mut wrong),
        "ConfigMap" => data::config_map_update(new, old, &mut wrong),
        "Secret" => data::secret_update(new, old, &mut wrong),
        "Node" => node::update(new, old, &mut wrong),
        _ => {}
    }
    wrong
}

/// Complaints about `new` as the successor of `old` through the `status` subresource.
pub fn update_status(resource: &Resource, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    meta::update(new, old, &mut wrong);
    if matches!(resource.kind, "Deployment" | "ReplicaSet") {
        workload::status(new, &mut wrong);
    }
    wrong
}

fn contents(resource: &Resource, object: &Value, wrong: &mut Vec<FieldError>) {
    match resource.kind {
        "Pod" => pod::create(object, wrong),
        "Deployment" => workload::deployment(object, wrong),
        "ReplicaSet" => workload::replica_set(object, wrong),
        "ConfigMap" => data::config_map(object, wrong),
        "Secret" => data::secret(object, wrong),
        "Node" => node::create(object, wrong),
        "Lease" => lease::create(object, wrong),
        "Event" => event::create(object, wrong),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
