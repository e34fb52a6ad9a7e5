//! A node's greeting made a Node object: created at the first, refreshed at each.

use std::collections::HashSet;

use control_api::resource::{LEASES, NODES};
use control_client::{Client, Patch};
use control_pki::Standing;
use control_wire::{Hello, trust};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::admission::{REMOVED, UNKNOWN};
use crate::nodes::Nodes;
use crate::range;
use crate::{report, status};

/// A node is known by its key: another key under its name is another machine.
const KEY_ANNOTATION: &str = "bramble.dev/node-key";
/// Labels that a node may set on itself; roles and the like are the administrator's.
const OWN_LABELS: [&str; 5] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
];

/// Kubernetes' taint of a node that a cloud controller manager has not seen yet; that one takes it away.
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// Whether the node still waits for a cloud controller manager.
pub fn is_uninitialized(node: &Value) -> bool {
    node["spec"]["taints"].as_array().into_iter().flatten().any(|taint| taint["key"] == UNINITIALIZED)
}

fn parse(client: &Client, name: &str) -> Option<Value> {
    client.get(&NODES, "", name).and_then(|node| serde_json::from_slice(&node.json).ok())
}

/// The key that a Node was registered with.
pub(crate) fn key_of(node: &Value) -> Option<[u8; 32]> {
    node["metadata"]["annotations"][KEY_ANNOTATION].as_str().and_then(trust::parse_hash)
}

/// Refuses a key that was shut out, or that nobody let in. A key that is known and whose Node is gone was shut out by
/// that Node's deletion.
pub fn check_standing(nodes: &Nodes, name: &str, key: [u8; 32]) -> Result<(), String> {
    let node = parse(&nodes.client, name);
    let registered = node.as_ref().and_then(key_of);
    match nodes.pki.members().standing(&key) {
        Some(Standing::Admitted) => Ok(()),
        Some(Standing::Known) if node.is_some() && registered.is_none_or(|known| known == key) => Ok(()),
        Some(Standing::Known) => {
            if let Err(error) = nodes.pki.members().remove(key, name) {
                tracing::error!(node = name, %error, "the removal of a node's key cannot be recorded");
            }
            Err(REMOVED.to_owned())
        }
        Some(Standing::Removed) => Err(REMOVED.to_owned()),
        // It joined before keys were remembered.
        None if registered == Some(key) => Ok(()),
        None => Err(UNKNOWN.to_owned()),
    }
}

/// Refuses a key that is not the one the node joined with.
pub fn check_key(client: &Client, name: &str, key: [u8; 32]) -> Result<(), String> {
    let Some(node) = parse(client, name) else { return Ok(()) };
    match node["metadata"]["annotations"][KEY_ANNOTATION].as_str() {
        Some(known) if known != trust::hex(&key) => Err(format!(
            "a node named {name} with another key is in the cluster already: give this one another name, or remove that one"
        )),
        _ => Ok(()),
    }
}

/// Creates or refreshes the Node; returns its pod range.
pub async fn register(nodes: &Nodes, name: &str, key: [u8; 32], hello: &Hello) -> Result<String, String> {
    let told: Value = serde_json::from_slice(&hello.node).map_err(|error| format!("Node cannot be read: {error}"))?;
    let range = {
        let _turn = nodes.registering.lock().await;
        check_standing(nodes, name, key)?;
        check_key(&nodes.client, name, key)?;
        match parse(&nodes.client, name) {
            None => create(nodes, name, key, &told).await?,
            Some(node) => refresh(nodes, name, key, &told, &node).await?,
        }
    };
    if let Some(status) = told.get("status") {
        let old = parse(&nodes.client, name).unwrap_or_default();
        let status = status::greeting(&old["status"], status, Timestamp::now());
        report::node_status(nodes, name, &status).await.map_err(|error| error.to_string())?;
    }
    lease(&nodes.client, name, Timestamp::now()).await;
    nodes.pki.members().know(key, name).map_err(|error| {
        tracing::error!(node = name, %error, "a node's key cannot be recorded");
        "server cannot record the node's key".to_owned()
    })?;
    Ok(range)
}

fn free_range(nodes: &Nodes) -> Result<String, String> {
    let listing = nodes.client.list(&NODES, None);
    let used: HashSet<String> = listing
        .items
        .iter()
        .filter_map(|node| serde_json::from_slice::<Value>(&node.json).ok())
        .filter_map(|node| node["spec"]["podCIDR"].as_str().map(str::to_owned))
        .collect();
    range::allot(&nodes.config.pod_range, &used).map_err(|error| error.to_string())
}

fn labels(told: &Value, name: &str) -> Map<String, Value> {
    let told = told["metadata"]["labels"].as_object();
    let mut labels: Map<String, Value> = told
        .into_iter()
        .flatten()
        .filter(|(label, value)| OWN_LABELS.contains(&label.as_str()) && value.is_string())
        .map(|(label, value)| (label.clone(), value.clone()))
        .collect();
    labels.entry("kubernetes.io/hostname").or_insert_with(|| json!(name));
    labels
}

async fn create(nodes: &Nodes, name: &str, key: [u8; 32], told: &Value) -> Result<String, String> {
    let range = free_range(nodes)?;
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name, "labels": labels(told, name), "annotations": {KEY_ANNOTATION: trust::hex(&key)},
        },
        "spec": {"podCIDR": range, "podCIDRs": [range]},
    });
    if nodes.config.external_cloud {
        node["spec"]["taints"] = json!([{"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}]);
    }
    nodes.client.create(&NODES, "", node).await.map_err(|error| error.to_string())?;
    Ok(range)
}

async fn refresh(nodes: &Nodes, name: &str, key: [u8; 32], told: &Value, node: &Value) -> Result<String, String> {
    let mut patch = json!({});
    let labels = labels(told, name);
    if labels.iter().any(|(label, value)| node["metadata"]["labels"][label.as_str()] != *value) {
        patch["metadata"]["labels"] = Value::Object(labels);
    }
    if !node["metadata"]["annotations"][KEY_ANNOTATION].is_string() {
        patch["metadata"]["annotations"] = json!({KEY_ANNOTATION: trust::hex(&key)});
    }
    let range = match node["spec"]["podCIDR"].as_str() {
        Some(range) => range.to_owned(),
        None => {
            let range = free_range(nodes)?;
            patch["spec"] = json!({"podCIDR": range, "podCIDRs": [range]});
            range
        }
    };
    if patch != json!({}) {
        let patched = nodes.client.patch(&NODES, "", name, None, Patch::Merge(patch)).await;
        patched.map_err(|error| error.to_string())?;
    }
    Ok(range)
}

/// The node's Lease, which tools read as its sign of life. It is renewed in memory only.
pub async fn lease(client: &Client, name: &str, heard: Timestamp) {
    const NAMESPACE: &str = "kube-node-lease";
    let renewed = status::micros(heard);
    if client.renew_node_lease(name, &renewed).await {
        return;
    }
    let done = if client.get(&LEASES, NAMESPACE, name).is_some() {
        let patch = Patch::Merge(json!({"spec": {"renewTime": renewed}}));
        client.patch(&LEASES, NAMESPACE, name, None, patch).await
    } else {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed},
        });
        client.create(&LEASES, NAMESPACE, lease).await
    };
    if let Err(error) = done {
        tracing::debug!(node = %name, %error, "the node's lease cannot be renewed");
    }
}
