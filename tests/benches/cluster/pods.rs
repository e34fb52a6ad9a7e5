//! Pod starts: one after another, and many at once.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use tests::cluster::Cluster;

use crate::client::{Access, Watch};
use crate::footprint::{self, Sum};
use crate::pod;
use crate::samples::Samples;
use crate::table::{Row, Table, Unit};

const IN_SEQUENCE: usize = 20;
const AT_ONCE: usize = 50;
const WAIT_MAX: Duration = Duration::from_secs(120);

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
    delete(access, "sequence").await?;
    let all = at_once(access).await.context("pods at once")?;
    let what = format!("{AT_ONCE} pods at once, all Running");
    table.push(Row::new(what, all.as_secs_f64(), Unit::Seconds).at_most(2.0).peers("8.2; 31.6 s"));
    footprint::each_pod(before, Sum::now(cluster), table);
    let begun = Instant::now();
    delete(access, "once").await?;
    let what = format!("{AT_ONCE} pods deleted, all gone");
    table.push(Row::new(what, begun.elapsed().as_secs_f64(), Unit::Seconds));
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

async fn next(watch: &mut Watch) -> Result<serde_json::Value> {
    tokio::time::timeout(WAIT_MAX, watch.next()).await.context("no event came")?
}

async fn in_sequence(access: &Access) -> Result<Samples> {
    let mut watch = pod::watch(access, "sequence").await?;
    let mut connection = access.connect().await?;
    let mut samples = Samples::default();
    for number in 0..IN_SEQUENCE {
        let name = format!("sequence-{number}");
        let begun = Instant::now();
        pod::create(&mut connection, &name, "sequence").await?;
        while pod::running(&next(&mut watch).await?) != Some(name.as_str()) {}
        samples.add(begun.elapsed());
    }
    Ok(samples)
}

async fn at_once(access: &Access) -> Result<Duration> {
    let mut watch = pod::watch(access, "once").await?;
    let begun = Instant::now();
    let mut creates = tokio::task::JoinSet::new();
    for number in 0..AT_ONCE {
        let access = access.clone();
        creates.spawn(async move {
            let mut connection = access.connect().await?;
            pod::create(&mut connection, &format!("once-{number}"), "once").await
        });
    }
    let mut running = BTreeMap::new();
    while running.len() < AT_ONCE {
        let event = next(&mut watch).await?;
        if let Some(name) = pod::running(&event) {
            running.entry(name.to_owned()).or_insert_with(|| begun.elapsed());
        }
    }
    while let Some(created) = creates.join_next().await {
        created??;
    }
    Ok(begun.elapsed())
}

async fn delete(access: &Access, app: &str) -> Result<()> {
    let mut watch = pod::watch(access, app).await?;
    let mut connection = access.connect().await?;
    let selector = format!("{}?labelSelector=app%3D{app}", pod::PODS);
    let list: serde_json::Value = serde_json::from_slice(&connection.get(&selector).await?)?;
    let count = list["items"].as_array().map_or(0, Vec::len);
    connection.delete(&selector).await?;
    let mut gone = 0;
    while gone < count {
        if next(&mut watch).await?["type"] == "DELETED" {
            gone += 1;
        }
    }
    Ok(())
}
