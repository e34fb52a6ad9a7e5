//! The pod that benches start.

use anyhow::Result;
use serde_json::{Value, json};
use tests::cluster::DEMO;

use crate::client::{Access, Connection, Watch};

pub const PODS: &str = "/api/v1/namespaces/default/pods";

pub async fn create(connection: &mut Connection, name: &str, app: &str) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "c", "image": DEMO, "imagePullPolicy": "Never", "command": ["/bin/busybox", "sleep", "1000000"],
                "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}},
            }],
        },
    });
    connection.post(PODS, pod.to_string()).await.map(drop)
}

/// The pods labelled with `app`.
pub async fn watch(access: &Access, app: &str) -> Result<Watch> {
    access.connect().await?.watch(&format!("{PODS}?watch=1&labelSelector=app%3D{app}")).await
}

/// The name of the pod that an event shows Running.
pub fn running(event: &Value) -> Option<&str> {
    (event["object"]["status"]["phase"] == "Running").then(|| event["object"]["metadata"]["name"].as_str())?
}
