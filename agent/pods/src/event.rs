//! Events of core/v1, as the kubelet records them.

use bytes::Bytes;
use control_api::view::core::Pod;
use jiff::Timestamp;
use serde_json::json;

use crate::machine::Note;

/// Who reports, in `source` and `reportingComponent`.
const COMPONENT: &str = "kubelet";

/// An Event about a pod, without a name: the server gives one.
pub fn render(pod: &Pod, note: &Note, node: &str, now: Timestamp) -> Bytes {
    let meta = &pod.metadata;
    let field_path = note.container.as_ref().map(|(name, init)| {
        let list = if *init { "initContainers" } else { "containers" };
        format!("spec.{list}{{{name}}}")
    });
    let mut involved = json!({
        "kind": "Pod", "apiVersion": "v1", "namespace": meta.namespace, "name": meta.name, "uid": meta.uid,
    });
    if let Some(path) = field_path {
        involved["fieldPath"] = json!(path);
    }
    event(&involved, meta.namespace.as_deref().unwrap_or("default"), note, node, now)
}

/// An Event about the node itself.
pub fn render_node(note: &Note, node: &str, now: Timestamp) -> Bytes {
    event(&json!({"kind": "Node", "name": node, "uid": node}), "default", note, node, now)
}

fn event(involved: &serde_json::Value, namespace: &str, note: &Note, node: &str, now: Timestamp) -> Bytes {
    let second = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"namespace": namespace},
        "involvedObject": involved,
        "reason": note.reason, "message": note.message,
        "source": {"component": COMPONENT, "host": node},
        "firstTimestamp": second, "lastTimestamp": second, "count": 1,
        "type": if note.warning { "Warning" } else { "Normal" },
        "eventTime": null,
        "reportingComponent": COMPONENT, "reportingInstance": node,
    });
    Bytes::from(event.to_string())
}
