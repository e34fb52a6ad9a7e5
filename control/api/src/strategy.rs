//! What the server itself decides about an object before validation: status on create, generation, what a status
//! update may not touch.

mod certificate;
mod daemon_set;
mod job;

use serde_json::{Value, json};

use crate::object::{child, get, integer, list, put, text};
use crate::resource::Resource;
use crate::{qos, service};

pub use certificate::date_conditions;
pub use job::{CONTROLLER_UID_LABEL, JOB_NAME_LABEL};
pub(crate) use job::{OLD_NAME_LABEL, OLD_UID_LABEL};

/// The finalizer that holds a namespace until its contents are gone; it lives in the spec.
pub const NAMESPACE_FINALIZER: &str = "kubernetes";

/// Metadata that a client may not set on create; uid and creationTimestamp are the caller's to set.
const SERVER_SET: [&str; 5] =
    ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink", "resourceVersion"];

/// Resets what a client may not set on create, and sets what follows from the name and the uid, which must be there.
/// Call after defaulting and before [`crate::validate::create`].
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    if let Some(metadata) = child(object, "metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, value| !value.is_null() && !SERVER_SET.contains(&key.as_str()));
    }
    if has_generation(resource) {
        object["metadata"]["generation"] = json!(1);
    }
    match resource.kind {
        "Pod" => object["status"] = json!({"phase": "Pending", "qosClass": qos::class(object)}),
        "Deployment" | "CertificateSigningRequest" => object["status"] = json!({}),
        "ReplicaSet" | "ReplicationController" => object["status"] = json!({"replicas": 0}),
        "Namespace" => {
            object["status"] = json!({"phase": "Active"});
            add_namespace_finalizer(object);
        }
        "DaemonSet" => {
            object["status"] = json!({
                "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
            });
            daemon_set::created(object);
        }
        "Job" => {
            object["status"] = json!({});
            job::select(object);
        }
        "Service" => {
            object["status"] = json!({"loadBalancer": {}});
            service::complete(object, None);
        }
        "PersistentVolume" => {
            let now = get(object, "/metadata/creationTimestamp").cloned();
            object["status"] = json!({"phase": "Pending"});
            put(&mut object["status"], "lastPhaseTransitionTime", now);
        }
        "PersistentVolumeClaim" => object["status"] = json!({"phase": "Pending"}),
        _ => {}
    }
}

/// Restores in `new` what this kind of update may not touch, and bumps the generation where the spec changed.
/// Call after defaulting and before [`crate::validate::update`]. `subresource` is `None`, `Some("status")`, or another
/// one whose caller has already written into the object what it changes.
pub fn prepare_update(resource: &Resource, new: &mut Value, old: &Value, subresource: Option<&str>) {
    keep_metadata(new, old);
    match subresource {
        Some("status") => keep_for_status(resource, new, old),
        Some("approval") => certificate::keep_for_approval(new, old),
        // A binding sets the node and, with it, the condition that says so.
        Some("binding") => {}
        // Namespace deletion takes the finalizers of the spec away through this one.
        Some("finalize") => put(new, "status", get(old, "/status").cloned()),
        _ => keep_status(resource, new, old),
    }
    match (resource.kind, subresource) {
        ("Service", None) => {
            service::complete(new, Some(old));
            // An address of a balancer that is gone would go on being announced.
            if text(new, "/spec/type") != "LoadBalancer" {
                new["status"] = json!({"loadBalancer": {}});
            }
        }
        ("DaemonSet", _) => daemon_set::updated(new, old),
        ("CertificateSigningRequest", _) => certificate::updated(new, old, subresource),
        _ => {}
    }
    let before = integer(old, "/metadata/generation");
    // Where a pod runs is the scheduler's answer, not a new wish.
    let bound = subresource == Some("binding");
    let generation = match before {
        Some(before) if has_generation(resource) && !bound && desired_changed(resource, new, old) => Some(before + 1),
        None if has_generation(resource) => Some(1),
        unchanged => unchanged,
    };
    if let Some(metadata) = child(new, "metadata") {
        put(metadata, "generation", generation.map(Value::from));
    }
}

fn has_generation(resource: &Resource) -> bool {
    matches!(
        resource.kind,
        "Pod"
            | "Deployment"
            | "ReplicaSet"
            | "ReplicationController"
            | "DaemonSet"
            | "Job"
            | "NetworkPolicy"
            | "EndpointSlice"
    )
}

fn has_status(resource: &Resource) -> bool {
    resource.subresources.contains(&"status")
}

fn add_namespace_finalizer(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    if list(spec, "/finalizers").iter().any(|name| name == NAMESPACE_FINALIZER) {
        return;
    }
    match spec.get_mut("finalizers").and_then(Value::as_array_mut) {
        Some(finalizers) => finalizers.push(json!(NAMESPACE_FINALIZER)),
        None => spec["finalizers"] = json!([NAMESPACE_FINALIZER]),
    }
}

/// A missing uid is the old one; the creation time never changes; a deletion is never taken back.
fn keep_metadata(new: &mut Value, old: &Value) {
    let Some(metadata) = child(new, "metadata") else { return };
    for key in ["name", "namespace", "uid"] {
        if text(metadata, &format!("/{key}")).is_empty() {
            put(metadata, key, get(old, &format!("/metadata/{key}")).cloned());
        }
    }
    for key in ["creationTimestamp", "deletionTimestamp"] {
        put(metadata, key, get(old, &format!("/metadata/{key}")).cloned());
    }
    let grace = get(old, "/metadata/deletionGracePeriodSeconds").cloned();
    if grace.is_none() || metadata.get("deletionGracePeriodSeconds").is_none_or(Value::is_null) {
        put(metadata, "deletionGracePeriodSeconds", grace);
    }
    put(metadata, "selfLink", None);
}

/// An ordinary update cannot change the status, nor a namespace's own finalizers.
fn keep_status(resource: &Resource, new: &mut Value, old: &Value) {
    if has_status(resource) {
        put(new, "status", get(old, "/status").cloned());
    }
    if resource.kind != "Namespace" {
        return;
    }
    if let Some(spec) = child(new, "spec") {
        put(spec, "finalizers", get(old, "/spec/finalizers").cloned());
    }
}

/// A status update changes the status, and as far as Kubernetes lets that kind, labels and annotations.
fn keep_for_status(resource: &Resource, new: &mut Value, old: &Value) {
    put(new, "spec", get(old, "/spec").cloned());
    let kept: &[&str] = match resource.kind {
        "Pod" => &["ownerReferences"],
        "Deployment" => &["labels"],
        _ => &[],
    };
    if let Some(metadata) = child(new, "metadata") {
        for key in kept {
            put(metadata, key, get(old, &format!("/metadata/{key}")).cloned());
        }
    }
    let class = get(old, "/status/qosClass").filter(|_| resource.kind == "Pod");
    if let (Some(class), Some(status)) = (class, child(new, "status")) {
        put(status, "qosClass", Some(class.clone()));
    }
}

/// Whether what controllers act upon changed: the spec, for a Deployment its annotations too, and of an EndpointSlice,
/// which has no spec, all but other metadata.
fn desired_changed(resource: &Resource, new: &Value, old: &Value) -> bool {
    if resource.kind == "EndpointSlice" {
        let labels = |object| get(object, "/metadata/labels").filter(|value| *value != &json!({}));
        let differs = |key: &str| new.get(key) != old.get(key);
        return ["endpoints", "ports", "addressType"].into_iter().any(differs) || labels(new) != labels(old);
    }
    let annotations = |object| get(object, "/metadata/annotations").filter(|value| *value != &json!({}));
    new.get("spec") != old.get("spec") || (resource.kind == "Deployment" && annotations(new) != annotations(old))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{
        CONFIG_MAPS, DEPLOYMENTS, ENDPOINT_SLICES, NAMESPACES, NETWORK_POLICIES, NODES, PODS, SERVICES,
    };

    #[test]
    fn a_create_cannot_bring_a_status_or_a_deletion() {
        let mut pod = json!({
            "metadata": {"name": "a", "deletionTimestamp": "x", "generation": 9, "creationTimestamp": null},
            "spec": {}, "status": {"phase": "Running"},
        });
        prepare_create(&PODS, &mut pod);
        assert_eq!(pod["metadata"], json!({"name": "a", "generation": 1}));
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
        let mut map = json!({"metadata": {"name": "a"}});
        prepare_create(&CONFIG_MAPS, &mut map);
        assert_eq!(map, json!({"metadata": {"name": "a"}}));
        let mut node = json!({"metadata": {"name": "a"}, "status": {"capacity": {}}});
        prepare_create(&NODES, &mut node);
        assert_eq!(node["status"], json!({"capacity": {}}));
        let mut namespace = json!({"metadata": {"name": "a"}});
        prepare_create(&NAMESPACES, &mut namespace);
        assert_eq!(namespace["spec"], json!({"finalizers": ["kubernetes"]}));
    }

    #[test]
    fn the_generation_counts_changes_of_the_spec_only() {
        let old =
            json!({"metadata": {"name": "a", "generation": 3}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
        let mut new = old.clone();
        new["status"] = json!({"replicas": 7});
        new["metadata"]["labels"] = json!({"a": "b"});
        prepare_update(&DEPLOYMENTS, &mut new, &old, None);
        assert_eq!((&new["metadata"]["generation"], &new["status"]["replicas"]), (&json!(3), &json!(1)));
        new["spec"]["replicas"] = json!(2);
        prepare_update(&DEPLOYMENTS, &mut new, &old, None);
        assert_eq!(new["metadata"]["generation"], 4);
        let mut annotated = old.clone();
        annotated["metadata"]["annotations"] = json!({"a": "b"});
        prepare_update(&DEPLOYMENTS, &mut annotated, &old, None);
        assert_eq!(annotated["metadata"]["generation"], 4);
    }

    #[test]
    fn a_slice_counts_its_endpoints_and_a_policy_its_spec() {
        let old =
            json!({"metadata": {"name": "a", "generation": 1, "labels": {"a": "b"}}, "endpoints": [], "ports": []});
        let mut new = old.clone();
        new["metadata"]["annotations"] = json!({"x": "y"});
        prepare_update(&ENDPOINT_SLICES, &mut new, &old, None);
        assert_eq!(new["metadata"]["generation"], 1);
        new["endpoints"] = json!([{"addresses": ["10.42.0.1"]}]);
        prepare_update(&ENDPOINT_SLICES, &mut new, &old, None);
        assert_eq!(new["metadata"]["generation"], 2);
        let mut policy = json!({"metadata": {"name": "a"}, "spec": {}});
        prepare_create(&NETWORK_POLICIES, &mut policy);
        assert_eq!(policy["metadata"]["generation"], 1);
    }

    #[test]
    fn a_service_that_is_no_balancer_any_more_loses_its_addresses() {
        let old = json!({
            "metadata": {"name": "a"}, "spec": {"type": "LoadBalancer", "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}},
        });
        let mut new = old.clone();
        new["metadata"]["labels"] = json!({"a": "b"});
        prepare_update(&SERVICES, &mut new, &old, None);
        assert_eq!(new["status"], old["status"]);
        new["spec"]["type"] = json!("ClusterIP");
        prepare_update(&SERVICES, &mut new, &old, None);
        assert_eq!(new["status"], json!({"loadBalancer": {}}));
    }

    #[test]
    fn a_binding_brings_its_condition() {
        let old = json!({"metadata": {"name": "a", "generation": 1}, "spec": {}, "status": {"phase": "Pending"}});
        let mut new = old.clone();
        new["spec"] = json!({"nodeName": "n"});
        new["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "True"}]);
        prepare_update(&PODS, &mut new, &old, Some("binding"));
        assert_eq!(new["status"]["conditions"][0]["type"], "PodScheduled");
        assert_eq!(new["spec"]["nodeName"], "n");
        assert_eq!(new["metadata"]["generation"], 1);
    }

    #[test]
    fn a_status_update_keeps_the_spec_and_a_deletion_stays() {
        let old = json!({
            "metadata": {"name": "a", "uid": "u", "generation": 1, "deletionTimestamp": "t", "deletionGracePeriodSeconds": 5},
            "spec": {"nodeName": "n"}, "status": {"phase": "Pending", "qosClass": "Burstable"},
        });
        let mut new = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "x"}, "status": {"phase": "Running"}});
        prepare_update(&PODS, &mut new, &old, Some("status"));
        assert_eq!(new["metadata"], old["metadata"]);
        assert_eq!(new["spec"], old["spec"]);
        assert_eq!(new["status"], json!({"phase": "Running", "qosClass": "Burstable"}));
    }
}
