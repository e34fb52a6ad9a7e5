//! A node's greeting made a Node object: created at the first, refreshed at each.

use std::collections::HashSet;

use control_api::resource::{LEASES, NODES};
use control_client::{Client, Patch};
use control_wire::{Hello, trust};
use serde_json::{Map, Value, json};

use crate::nodes::Nodes;
use crate::range;
use crate::report;

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

fn parse(client: &Client, name: &str) -> Option<Value> {
    client.get(&NODES, "", name).and_then(|node| serde_json::from_slice(&node.json).ok())
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
    check_key(&nodes.client, name, key)?;
    let range = {
        let _turn = nodes.registering.lock().await;
        match parse(&nodes.client, name) {
            None => create(nodes, name, key, &told).await?,
            Some(node) => refresh(nodes, name, key, &told, &node).await?,
        }
    };
    if let Some(status) = told.get("status") {
        report::node_status(&nodes.client, name, status).await.map_err(|error| error.to_string())?;
    }
    lease(&nodes.client, name).await;
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
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name, "labels": labels(told, name), "annotations": {KEY_ANNOTATION: trust::hex(&key)},
        },
        "spec": {"podCIDR": range, "podCIDRs": [range]},
    });
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
pub async fn lease(client: &Client, name: &str) {
    const NAMESPACE: &str = "kube-node-lease";
    let renewed = crate::status::micros(jiff::Timestamp::now());
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
