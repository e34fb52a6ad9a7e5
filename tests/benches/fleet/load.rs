//! What is put on the server: pods that are bound, Services over them, and bindings one by one.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use tests::cluster::DEMO;

use crate::Sizes;
use crate::board::Board;
use crate::client::Access;
use crate::node;
use crate::samples::Samples;
use crate::table::{Row, Table, Unit};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const CONNECTIONS: usize = 8;

/// Until so many objects of a list are as they should be.
async fn count(access: &Access, path: &str, wanted: usize, good: impl Fn(&Value) -> bool) -> Result<()> {
    let mut watch = access.connect().await?.watch(&format!("{path}?watch=1")).await?;
    let mut found = HashSet::new();
    while found.len() < wanted {
        let event = watch.next().await?;
        if good(&event["object"]) {
            found.insert(event["object"]["metadata"]["name"].to_string());
        }
    }
    Ok(())
}

pub async fn ready_nodes(access: &Access, wanted: usize) -> Result<()> {
    let ready = |node: &Value| {
        let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        conditions.any(|found| found["type"] == "Ready" && found["status"] == "True")
    };
    count(access, "/api/v1/nodes", wanted, ready).await
}

pub async fn running_pods(access: &Access, wanted: usize) -> Result<()> {
    count(access, PODS, wanted, |pod| pod["status"]["phase"] == "Running").await
}

/// Services first, as a cluster that grows has them; then pods, bound at once.
pub async fn fill(access: &Access, sizes: Sizes) -> Result<()> {
    let mut connection = access.connect().await?;
    for number in 0..sizes.services {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{number}")},
            "spec": {"selector": {"app": format!("s{number}")}, "ports": [{"port": 80, "targetPort": 8080}]},
        });
        connection.post(SERVICES, service.to_string()).await?;
    }
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (access, next) = (access.clone(), next.clone());
        workers.spawn(async move {
            let mut connection = access.connect().await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= sizes.pods {
                    return anyhow::Ok(());
                }
                let node = node::name(number % sizes.nodes);
                let app = format!("s{}", number % sizes.services.max(1));
                connection.post(PODS, pod(&format!("p{number}"), &app, Some(&node)).to_string()).await?;
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    Ok(())
}

fn pod(name: &str, app: &str, node: Option<&str>) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}},
        "spec": {
            "schedulerName": "the-bench", "automountServiceAccountToken": false,
            "containers": [{
                "name": "c", "image": DEMO, "ports": [{"containerPort": 8080}],
                "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}},
            }],
        },
    });
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    pod
}

/// From asking for a binding to the node's hearing of the pod, one after the other.
pub async fn bindings(access: &Access, board: &Board, sizes: Sizes, table: &mut Table) -> Result<()> {
    let mut connection = access.connect().await?;
    let mut samples = Samples::default();
    for number in 0..sizes.bindings {
        let name = format!("bound-{number}");
        connection.post(PODS, pod(&name, "bound", None).to_string()).await?;
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node::name(number * 31 % sizes.nodes)},
        });
        let path = format!("{PODS}/{name}/binding");
        let begun = Instant::now();
        let (answer, heard) = tokio::join!(connection.post(&path, binding.to_string()), board.heard(&name));
        answer?;
        samples.add(heard - begun);
    }
    for percent in [50, 99] {
        let what = format!("binding to its node's hearing of it, p{percent} of {}", sizes.bindings);
        table.push(Row::new(what, samples.percentile_ms(percent), Unit::Milliseconds));
    }
    Ok(())
}
