//! The pod that benches start.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::cluster::DEMO;

use crate::client::{Access, Connection, Watch};

pub const PODS: &str = "/api/v1/namespaces/default/pods";

const WAIT_MAX: Duration = Duration::from_secs(120);

pub async fn create(connection: &mut Connection, name: &str, app: &str) -> Result<()> {
    let mut pod = manifest(name, app);
    pod["spec"]["containers"][0]["command"] = json!(["/bin/busybox", "sleep", "1000000"]);
    connection.post(PODS, pod.to_string()).await.map(drop)
}

/// With the command of the demo's image, which serves HTTP on 8080.
pub fn manifest(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "c", "image": DEMO, "imagePullPolicy": "Never",
                "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}},
            }],
        },
    })
}

/// The pods labelled with `app`.
pub async fn watch(access: &Access, app: &str) -> Result<Watch> {
    access.connect().await?.watch(&format!("{PODS}?watch=1&labelSelector=app%3D{app}")).await
}

/// The name of the pod that an event shows Running.
pub fn running(event: &Value) -> Option<&str> {
    (event["object"]["status"]["phase"] == "Running").then(|| event["object"]["metadata"]["name"].as_str())?
}

/// The next event of a watch.
pub async fn next(watch: &mut Watch) -> Result<Value> {
    tokio::time::timeout(WAIT_MAX, watch.next()).await.context("no event came")?
}

/// What a list at `path` holds.
pub async fn list(connection: &mut Connection, path: &str) -> Result<Vec<Value>> {
    let mut list: Value = serde_json::from_slice(&connection.get(path).await?)?;
    Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// Deletes the pods labelled with `app`, and waits until they are gone.
pub async fn delete(access: &Access, app: &str) -> Result<()> {
    let mut watch = watch(access, app).await?;
    let mut connection = access.connect().await?;
    let selector = format!("{PODS}?labelSelector=app%3D{app}");
    let count = list(&mut connection, &selector).await?.len();
    connection.delete(&selector).await?;
    let mut gone = 0;
    while gone < count {
        if next(&mut watch).await?["type"] == "DELETED" {
            gone += 1;
        }
    }
    Ok(())
}
