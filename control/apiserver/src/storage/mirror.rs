//! Mirrors of static pods: what a node runs by itself, told by the part that speaks with nodes.

use control_api::resource::PODS;
use serde_json::Value;

use super::Ask;

/// Who writes for the nodes.
const WRITER: (&str, &str) = ("system:nodes", "system:masters");
const ANNOTATION: &str = "kubernetes.io/config.mirror";

/// The uid of a mirror, which is its pod's: the node finds the pod by it. Nobody else chooses one.
pub(super) fn uid(ask: &Ask, pod: &Value) -> Option<String> {
    let told = ask.resource == &PODS && ask.user.name == WRITER.0 && ask.user.in_group(WRITER.1);
    let uid = pod["metadata"]["annotations"][ANNOTATION].as_str().filter(|uid| told && !uid.is_empty())?;
    (pod["metadata"]["uid"] == uid).then(|| uid.to_owned())
}
