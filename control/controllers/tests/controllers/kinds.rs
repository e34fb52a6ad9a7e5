//! Objects of every namespaced kind go with their namespace, and with their owner.

use control_api::resource::{self, CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS};
use control_client::{DeleteOptions, Resource};
use serde_json::{Value, json};

use crate::cluster::{Cluster, add_namespace, create, deployment, value};

/// The smallest valid object of a kind; no controller makes pods of these, but for a Job's and a DaemonSet's.
fn smallest(kind: &str) -> Value {
    let pods = |restart: &str| json!({"restartPolicy": restart, "containers": [{"name": "main", "image": "web:1"}]});
    let selected = |spec: Value| json!({"metadata": {"labels": {"app": "one"}}, "spec": spec});
    match kind {
        "Deployment" => deployment("one", 0, "web:1"),
        "Pod" => json!({"spec": pods("Always")}),
        "ReplicaSet" => {
            let template = selected(pods("Always"));
            json!({"spec": {"replicas": 0, "selector": {"matchLabels": {"app": "one"}}, "template": template}})
        }
        "ReplicationController" => {
            json!({"spec": {"replicas": 0, "selector": {"app": "one"}, "template": selected(pods("Always"))}})
        }
        "DaemonSet" => {
            json!({"spec": {"selector": {"matchLabels": {"app": "one"}}, "template": selected(pods("Always"))}})
        }
        "Job" => json!({"spec": {"suspend": true, "template": {"spec": pods("Never")}}}),
        "ControllerRevision" => json!({"data": {"a": "b"}, "revision": 1}),
        "Service" => json!({"spec": {"selector": {"app": "one"}, "ports": [{"port": 80}]}}),
        "EndpointSlice" => json!({"addressType": "IPv4", "endpoints": [], "ports": []}),
        "NetworkPolicy" => json!({"spec": {"podSelector": {}}}),
        "PersistentVolumeClaim" => {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        }
        "RoleBinding" => {
            json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "one"}})
        }
        "Event" => json!({"involvedObject": {"namespace": "team", "name": "x"}, "reason": "Tested", "type": "Normal"}),
        _ => json!({}),
    }
}

fn namespaced() -> impl Iterator<Item = &'static Resource> {
    resource::all().iter().copied().filter(|row| row.namespaced())
}

/// A Service's Endpoints would have its name.
fn name(row: &Resource) -> String {
    format!("one-{}", row.plural)
}

/// One object of every namespaced kind in namespace `team`.
async fn fill(cluster: &Cluster, owners: &Value) {
    let client = &cluster.client;
    // Pods need it.
    cluster.until("the account is there", |client| client.get(&SERVICE_ACCOUNTS, "team", "default").is_some()).await;
    for row in namespaced() {
        let mut object = smallest(row.kind);
        object["metadata"] = json!({"name": name(row), "ownerReferences": owners});
        create(client, row, "team", object).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_takes_objects_of_every_kind_along() {
    let cluster = Cluster::start().await;
    add_namespace(&cluster.client, "team").await;
    fill(&cluster, &json!([])).await;
    cluster.client.delete(&NAMESPACES, "", "team", DeleteOptions::default()).await.expect("is deleted");
    cluster.until("it is gone", |client| client.get(&NAMESPACES, "", "team").is_none()).await;
    for row in namespaced() {
        assert!(cluster.client.list(row, Some("team")).items.is_empty(), "{} are left", row.plural);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_takes_objects_of_every_kind_along() {
    let cluster = Cluster::start().await;
    add_namespace(&cluster.client, "team").await;
    let owner = create(&cluster.client, &CONFIG_MAPS, "team", json!({"metadata": {"name": "owner"}})).await;
    let uid = value(&owner)["metadata"]["uid"].clone();
    fill(&cluster, &json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}])).await;
    cluster.client.delete(&CONFIG_MAPS, "team", "owner", DeleteOptions::default()).await.expect("is deleted");
    for row in namespaced().filter(|row| !matches!(row.kind, "Event" | "Lease")) {
        cluster.until(row.plural, |client| client.get(row, "team", &name(row)).is_none()).await;
    }
}
