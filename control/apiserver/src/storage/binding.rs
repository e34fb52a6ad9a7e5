//! `pods/binding`: the scheduler's decision.

use control_api::{FieldError, Status};
use serde_json::{Value, json};

use super::Ask;
use super::update::revise;
use crate::api::Api;
use crate::call::Reply;
use crate::clock;

/// Binds a pod to a node, once.
pub async fn bind(api: &Api, ask: Ask, binding: &Value) -> Result<Reply, Status> {
    let target = &binding["target"];
    let node = target["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() {
        return Err(Status::invalid(ask.resource, &ask.name, vec![FieldError::required("target.name", "")]));
    }
    if !matches!(target["kind"].as_str().unwrap_or_default(), "" | "Node") {
        let wrong = FieldError::not_supported("target.kind", &target["kind"], &["Node", "<empty>"]);
        return Err(Status::invalid(ask.resource, &ask.name, vec![wrong]));
    }
    let uid = binding["metadata"]["uid"].as_str().unwrap_or_default();
    revise(api, &ask, |pod| {
        let conflict = |why: &str| Err(Status::conflict(ask.resource, &ask.name, why));
        let found = pod["metadata"]["uid"].as_str().unwrap_or_default();
        if !uid.is_empty() && uid != found {
            return conflict(&format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"));
        }
        if pod["metadata"]["deletionTimestamp"].is_string() {
            return conflict(&format!("pod {} is being deleted, cannot be assigned to a host", ask.name));
        }
        if let Some(bound) = pod["spec"]["nodeName"].as_str().filter(|bound| !bound.is_empty()) {
            return conflict(&format!("pod {} is already assigned to node \"{bound}\"", ask.name));
        }
        Ok(bound(pod, &node, binding))
    })
    .await?;
    Ok(Reply::Value { value: success(), created: true, warnings: Vec::new() })
}

/// The pod on its node, with the condition that says so.
fn bound(pod: &Value, node: &str, binding: &Value) -> Value {
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = json!(node);
    for (key, value) in binding["metadata"]["annotations"].as_object().into_iter().flatten() {
        pod["metadata"]["annotations"][key] = value.clone();
    }
    let mut conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": clock::now()}),
    );
    pod["status"]["conditions"] = conditions.into();
    pod
}

/// The answer to a create that leaves no object.
pub fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}
