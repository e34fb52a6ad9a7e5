//! What a node may write: itself and its pods, in Kubernetes' words (its NodeRestriction admission).

use control_api::Status;
use control_api::resource::{LEASES, NODES, PODS};
use serde_json::{Map, Value};

use crate::storage::Ask;

/// A pod that a node made itself, from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Labels that say where pods may run, and that a node must not give itself.
const RESTRICTED: &str = "node-restriction.kubernetes.io/";
/// Labels of Kubernetes' own that a node may give itself.
const OWN_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// A write, as admission sees it.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    Create(&'a Value),
    Update { old: &'a Value, new: &'a Value },
    Delete(&'a Value),
}

/// Before a node's write. Other resources were decided by name already.
pub(crate) fn check(ask: &Ask, node: &str, operation: Operation<'_>) -> Result<(), Status> {
    let refused = match ask.resource {
        resource if resource == &PODS => pod(ask, node, operation),
        resource if resource == &NODES => node_object(ask, node, operation),
        resource if resource == &LEASES && ask.name != node => {
            Err(format!("can only access node lease with the same name as the requesting node {node:?}"))
        }
        _ => Ok(()),
    };
    refused.map_err(|why| Status::forbidden(ask.resource, &ask.name, &why))
}

fn is_on(pod: &Value, node: &str) -> bool {
    pod["spec"]["nodeName"] == node
}

fn pod(ask: &Ask, node: &str, operation: Operation<'_>) -> Result<(), String> {
    let only = |right: bool, why: String| if right { Ok(()) } else { Err(why) };
    match (ask.subresource.as_deref(), operation) {
        (None, Operation::Create(pod)) => mirror_pod(node, pod),
        // A deletion that waits for its grace is written as an update.
        (None, Operation::Delete(old) | Operation::Update { old, .. }) if ask.deletes => {
            only(is_on(old, node), format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        (Some("status"), Operation::Update { old, new }) => {
            let own = is_on(old, node);
            only(own, format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"))?;
            let same = old["metadata"]["labels"] == new["metadata"]["labels"];
            only(same, format!("node {node:?} cannot update labels through pod status"))
        }
        (Some(other), _) => {
            Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
        }
        _ => Err(format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods")),
    }
}

fn mirror_pod(node: &str, pod: &Value) -> Result<(), String> {
    if pod["metadata"]["annotations"].get(MIRROR).is_none() {
        return Err(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if !is_on(pod, node) {
        return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    // Kubernetes takes those that name nothing else; nothing here makes them.
    Err(format!("node {node:?} cannot create mirror pods: pods from files are not supported"))
}

fn node_object(ask: &Ask, node: &str, operation: Operation<'_>) -> Result<(), String> {
    if ask.name != node {
        return Err(format!("node {node:?} is not allowed to modify node {:?}", ask.name));
    }
    let empty = Value::Null;
    let (old, new) = match operation {
        Operation::Create(new) => (&empty, new),
        Operation::Update { old, new } => (old, new),
        Operation::Delete(_) => return Ok(()),
    };
    if !old.is_null() && old["spec"]["taints"] != new["spec"]["taints"] {
        return Err(format!("node {node:?} is not allowed to modify taints"));
    }
    if !old.is_null() && old["metadata"]["ownerReferences"] != new["metadata"]["ownerReferences"] {
        return Err(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    let none = Map::new();
    let labels = |object: &Value| object["metadata"]["labels"].as_object().cloned().unwrap_or(none.clone());
    let (before, after) = (labels(old), labels(new));
    let changed = before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key));
    let mut forbidden: Vec<&str> = changed.map(String::as_str).filter(|key| !may_label(key)).collect();
    forbidden.sort_unstable();
    forbidden.dedup();
    if forbidden.is_empty() {
        return Ok(());
    }
    let verb = if old.is_null() { "set" } else { "modify" };
    Err(format!("is not allowed to {verb} the following labels: {}", forbidden.join(", ")))
}

/// Kubernetes' own prefixes are its alone, but for a few labels and the kubelet's.
fn may_label(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else { return true };
    let of = |domain: &str| prefix == domain || prefix.ends_with(&format!(".{domain}"));
    if key.starts_with(RESTRICTED) || prefix.ends_with(&format!(".{}", RESTRICTED.trim_end_matches('/'))) {
        return false;
    }
    !(of("kubernetes.io") || of("k8s.io"))
        || OWN_LABELS.contains(&key)
        || ["kubelet.kubernetes.io", "node.kubernetes.io"].iter().any(|domain| of(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_cannot_label_itself_into_a_role() {
        for good in
            ["color", "example.com/a", "kubernetes.io/arch", "node.kubernetes.io/x", "topology.kubernetes.io/zone"]
        {
            assert!(may_label(good), "{good}");
        }
        for bad in [
            "node-role.kubernetes.io/control-plane",
            "node-restriction.kubernetes.io/a",
            "a.node-restriction.kubernetes.io/a",
            "kubernetes.io/x",
            "k8s.io/x",
        ] {
            assert!(!may_label(bad), "{bad}");
        }
    }
}
