//! Static pods, which a node runs by itself, as the API shows them.

use control_api::Status;
use control_api::resource::{NODES, PODS};
use control_client::{Client, DeleteOptions, Preconditions};
use serde_json::{Value, json};

const MIRROR: &str = "kubernetes.io/config.mirror";

pub fn is_one(pod: &Value) -> bool {
    pod["metadata"]["annotations"][MIRROR].is_string()
}

/// Makes the mirror where it is not there. What stands in its place goes if it is an older mirror of the same node.
pub async fn show(client: &Client, node: &str, uid: &str, mut pod: Value) -> Result<(), Status> {
    let own = pod["metadata"]["annotations"][MIRROR] == uid
        && pod["metadata"]["uid"] == uid
        && pod["spec"]["nodeName"] == node;
    if !own {
        return Err(Status::bad_request("a static pod must be a mirror of the node that tells of it"));
    }
    let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    if let Some(found) = client.get(&PODS, &namespace, &name) {
        if found.meta.uid == uid {
            return Ok(());
        }
        let old: Value = serde_json::from_slice(&found.json).unwrap_or_default();
        if !is_one(&old) || old["spec"]["nodeName"] != node {
            return Err(Status::already_exists(&PODS, &name));
        }
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: Preconditions { uid: Some(found.meta.uid.clone()), ..Preconditions::default() },
            ..DeleteOptions::default()
        };
        client.delete(&PODS, &namespace, &name, options).await?;
    }
    if let Some(owner) = client.get(&NODES, "", node) {
        pod["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Node", "name": node, "uid": owner.meta.uid, "controller": true}]);
    }
    client.create(&PODS, &namespace, pod).await.map(drop)
}
