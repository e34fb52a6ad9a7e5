//! Defaulting: what Kubernetes fills into an object when a client leaves it out.

mod job;
mod pod;
mod policy;
mod secret;
mod service;
mod storage;
mod workload;

use serde_json::Value;

use crate::object::{child, fill, get, text};
use crate::resource::Resource;

/// Fills in every default of `object`, which must have been decoded as `resource`. Idempotent.
///
/// `serviceAccountName` and the tolerations of every pod are admission's, not here. Call again after admission set
/// the service account: its deprecated twin follows it.
pub fn apply(resource: &Resource, object: &mut Value) {
    match resource.kind {
        "Pod" => pod::pod(object),
        "Deployment" => workload::deployment(object),
        "ReplicaSet" => workload::replica_set(object),
        "ReplicationController" => workload::replication_controller(object),
        "Namespace" => namespace(object),
        "Node" => node(object),
        "Secret" => secret::secret(object),
        "DaemonSet" => workload::daemon_set(object),
        "Job" => job::job(object),
        "Service" => service::service(object),
        "Endpoints" => service::endpoints(object),
        "EndpointSlice" => service::endpoint_slice(object),
        "NetworkPolicy" => policy::network_policy(object),
        "RoleBinding" | "ClusterRoleBinding" => policy::binding(object),
        "PersistentVolume" => storage::volume(object),
        "PersistentVolumeClaim" => storage::claim(object),
        "StorageClass" => storage::class(object),
        _ => {}
    }
}

/// The label that selects a namespace by its name.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

fn namespace(object: &mut Value) {
    let name = text(object, "/metadata/name").to_owned();
    let labels = child(object, "metadata").and_then(|metadata| child(metadata, "labels"));
    if let Some(labels) = labels.filter(|_| !name.is_empty()) {
        labels[NAMESPACE_NAME_LABEL] = Value::String(name);
    }
    if let Some(status) = child(object, "status") {
        fill(status, "phase", "Active");
    }
}

fn node(object: &mut Value) {
    if let (Some(capacity), None) = (get(object, "/status/capacity"), get(object, "/status/allocatable")) {
        let capacity = capacity.clone();
        object["status"]["allocatable"] = capacity;
    }
    for field in ["capacity", "allocatable"] {
        if let Some(amounts) = object.pointer_mut(&format!("/status/{field}")) {
            pod::canonical_amounts(amounts);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::{NAMESPACES, NODES};

    #[test]
    fn a_namespace_is_labelled_with_its_name() {
        let mut object = json!({"metadata": {"name": "web", "labels": {"kubernetes.io/metadata.name": "x"}}});
        apply(&NAMESPACES, &mut object);
        let wanted = json!({
            "metadata": {"name": "web", "labels": {"kubernetes.io/metadata.name": "web"}},
            "status": {"phase": "Active"},
        });
        assert_eq!(object, wanted);
    }

    #[test]
    fn a_node_without_allocatable_can_give_all_it_has() {
        let mut object = json!({"status": {"capacity": {"cpu": 4, "memory": "1048576Ki"}}});
        apply(&NODES, &mut object);
        assert_eq!(object["status"]["allocatable"], json!({"cpu": "4", "memory": "1Gi"}));
    }
}
