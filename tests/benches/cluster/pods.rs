//! Pod starts: one after another, many at once, and as many as a node takes.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use tests::cluster::Cluster;

use crate::client::Access;
use crate::footprint::{self, Sum};
use crate::pod;
use crate::samples::Samples;
use crate::table::{Row, Table, Unit};

const IN_SEQUENCE: usize = 20;
const AT_ONCE: usize = 50;
/// The pods that a node takes.
const NODE_MAX: usize = 110;

pub async fn measure(cluster: &Cluster, access: &Access, table: &mut Table) -> Result<()> {
    let before = Sum::now(cluster);
    let beside = format!("unshare + exec {:.1} ms", bare_start()?.percentile_ms(50));
    let mut one = in_sequence(access).await.context("pods in sequence")?;
    let what = |percent| format!("pod create to Running, p{percent} of {IN_SEQUENCE}");
    table.push(
        Row::new(what(50), one.percentile_ms(50), Unit::Milliseconds)
            .at_most(50.0)
            .beside(beside)
            .peers("546; 1002 ms"),
    );
    table.push(Row::new(what(99), one.percentile_ms(99), Unit::Milliseconds).at_most(150.0).peers("585; 1254 ms"));
    pod::delete(access, "sequence").await?;
    let all = at_once(access, "once", AT_ONCE).await.context("pods at once")?;
    let what = format!("{AT_ONCE} pods at once, all Running");
    table.push(Row::new(what, all.as_secs_f64(), Unit::Seconds).at_most(2.0).peers("8.2; 31.6 s"));
    footprint::each_pod(before, Sum::now(cluster), table);
    footprint::with_pods(cluster, table)?;
    let begun = Instant::now();
    pod::delete(access, "once").await?;
    let what = format!("{AT_ONCE} pods deleted, all gone");
    table.push(Row::new(what, begun.elapsed().as_secs_f64(), Unit::Seconds));
    full_node(access, table).await.with_context(|| format!("{NODE_MAX} pods at once"))
}

/// Without any other pod, the one of the start among them, which is made again for what comes later.
async fn full_node(access: &Access, table: &mut Table) -> Result<()> {
    let mut connection = access.connect().await?;
    let first = pod::list(&mut connection, &format!("{}?labelSelector=app%3Dfirst", pod::PODS)).await?;
    pod::delete(access, "first").await?;
    let others = pod::list(&mut connection, "/api/v1/pods").await?;
    let names: Vec<&Value> = others.iter().map(|pod| &pod["metadata"]["name"]).collect();
    ensure!(names.is_empty(), "other pods are on the node: {names:?}");
    let nodes = pod::list(&mut connection, "/api/v1/nodes").await?;
    let room = nodes.first().and_then(|node| node["status"]["allocatable"]["pods"].as_str()?.parse().ok());
    ensure!(room == Some(NODE_MAX), "the node takes {room:?} pods");
    let all = at_once(access, "full", NODE_MAX).await?;
    let what = format!("{NODE_MAX} pods at once, all Running");
    table.push(Row::new(what, all.as_secs_f64(), Unit::Seconds).beside("all that a node takes; no other pod"));
    pod::delete(access, "full").await?;
    let mut watch = pod::watch(access, "first").await?;
    for name in first.iter().filter_map(|pod| pod["metadata"]["name"].as_str()) {
        pod::create(&mut connection, name, "first").await?;
        while pod::running(&pod::next(&mut watch).await?) != Some(name) {}
    }
    Ok(())
}

/// The least that a container's start can cost here: new namespaces and an exec.
fn bare_start() -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..IN_SEQUENCE {
        let begun = Instant::now();
        let flags = ["--fork", "--pid", "--net", "--ipc", "--uts", "--mount", "true"];
        ensure!(Command::new("unshare").args(flags).status()?.success(), "unshare failed");
        samples.add(begun.elapsed());
    }
    Ok(samples)
}

async fn in_sequence(access: &Access) -> Result<Samples> {
    let mut watch = pod::watch(access, "sequence").await?;
    let mut connection = access.connect().await?;
    let mut samples = Samples::default();
    for number in 0..IN_SEQUENCE {
        let name = format!("sequence-{number}");
        let begun = Instant::now();
        pod::create(&mut connection, &name, "sequence").await?;
        while pod::running(&pod::next(&mut watch).await?) != Some(name.as_str()) {}
        samples.add(begun.elapsed());
    }
    Ok(samples)
}

async fn at_once(access: &Access, app: &'static str, count: usize) -> Result<Duration> {
    let mut watch = pod::watch(access, app).await?;
    let begun = Instant::now();
    let mut creates = tokio::task::JoinSet::new();
    for number in 0..count {
        let access = access.clone();
        creates.spawn(async move {
            let mut connection = access.connect().await?;
            pod::create(&mut connection, &format!("{app}-{number}"), app).await
        });
    }
    let mut running = BTreeMap::new();
    while running.len() < count {
        let event = pod::next(&mut watch).await?;
        if let Some(name) = pod::running(&event) {
            running.entry(name.to_owned()).or_insert_with(|| begun.elapsed());
        }
    }
    while let Some(created) = creates.join_next().await {
        created??;
    }
    Ok(begun.elapsed())
}
