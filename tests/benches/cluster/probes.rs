//! What a probe costs: of the same pods without one, with one that runs a command, with one that asks over HTTP.
//!
//! Probes are counted as they are due, and at the end all pods must be Ready. The program that an exec runs counts, too.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::process::Whose;

use crate::client::Access;
use crate::footprint;
use crate::pod;
use crate::table::{Row, Table, Unit};

const PODS: usize = 20;
const APP: &str = "probed";
/// What the pods' starts left to do.
const SETTLE: Duration = Duration::from_secs(5);

pub async fn measure(cluster: &Cluster, access: &Access, window: Duration, table: &mut Table) -> Result<()> {
    let idle = spent(cluster, access, window, None).await.context("pods without probes")?;
    let kinds = [
        ("exec of `true`", json!({"exec": {"command": ["true"]}, "periodSeconds": 1})),
        ("httpGet", json!({"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1})),
    ];
    let seconds = window.as_secs();
    let share = |spent: f64| 100.0 * spent / window.as_secs_f64();
    for (what, probe) in kinds {
        let all = spent(cluster, access, window, Some(&probe)).await.with_context(|| format!("probes by {what}"))?;
        let each = 1000.0 * (all - idle) / (PODS as f64 * window.as_secs_f64());
        let beside = format!("{:.1} % of a core; without probes {:.1} %", share(all), share(idle));
        let row = format!("CPU of a probe by {what}, {PODS} pods each second for {seconds} s");
        table.push(Row::new(row, each, Unit::Milliseconds).beside(beside));
    }
    Ok(())
}

/// Processor seconds over the window, with pods that are there for it alone.
async fn spent(cluster: &Cluster, access: &Access, window: Duration, probe: Option<&Value>) -> Result<f64> {
    let mut connection = access.connect().await?;
    for number in 0..PODS {
        let mut pod = pod::manifest(&format!("{APP}-{number}"), APP);
        if let Some(probe) = probe {
            pod["spec"]["containers"][0]["readinessProbe"] = probe.clone();
        }
        connection.post(pod::PODS, pod.to_string()).await?;
    }
    let mut watch = pod::watch(access, APP).await?;
    let mut ready = BTreeSet::new();
    while ready.len() < PODS {
        let event = pod::next(&mut watch).await?;
        if is_ready(&event["object"]) {
            ready.insert(event["object"]["metadata"]["name"].to_string());
        }
    }
    drop(watch);
    tokio::time::sleep(SETTLE).await;
    let before = footprint::cpu_seconds(cluster, Whose::OwnAndReaped);
    tokio::time::sleep(window).await;
    let spent = footprint::cpu_seconds(cluster, Whose::OwnAndReaped) - before;
    let pods = pod::list(&mut connection, &format!("{}?labelSelector=app%3D{APP}", pod::PODS)).await?;
    ensure!(pods.iter().filter(|pod| is_ready(pod)).count() == PODS, "a probe has failed");
    pod::delete(access, APP).await?;
    Ok(spent)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|found| found["type"] == "Ready" && found["status"] == "True")
}
