//! The API under load: durable creates, gets and lists.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::client::{Access, Connection};
use crate::device::Device;
use crate::options::Options;
use crate::raw;
use crate::samples::Samples;
use crate::table::{Row, Table, Unit};

const PAYLOAD_BYTES: usize = 512;
const LIST_CONNECTIONS: usize = 4;
const GET_CONNECTIONS: usize = 16;

/// What one request does with its number.
type Step = for<'a> fn(&'a mut Connection, &'a str, usize) -> StepFuture<'a>;
type StepFuture<'a> = std::pin::Pin<Box<dyn Future<Output = Result<usize>> + Send + 'a>>;

struct Load {
    samples: Samples,
    wall: Duration,
    /// The last answer's length.
    bytes: usize,
}

impl Load {
    fn rate(&self, count: usize) -> f64 {
        count as f64 / self.wall.as_secs_f64()
    }
}

pub async fn measure(access: &Access, device: &Device, options: &Options, table: &mut Table) -> Result<()> {
    let syncs = raw::syncs_per_second(&device.path())?;
    for (connections, budget) in [(1, None), (16, Some(10_000.0)), (64, None)] {
        let namespace = new_namespace(access, &format!("create-{connections}")).await?;
        let count = if connections == 1 { options.creates / 4 } else { options.creates };
        let before = device.written()?;
        let load = fan(access, connections, count, &namespace, create).await?;
        let after = device.written()?;
        let (rate, mut samples) = (load.rate(count), load.samples);
        let what = format!("durable creates, {connections} connections");
        let beside = format!(
            "p50 {:.2} p99 {:.2} ms; {:.1} KB a write; {:.2} of {syncs:.0} raw syncs/s",
            samples.percentile_ms(50),
            samples.percentile_ms(99),
            (after.bytes - before.bytes) as f64 / 1e3 / count as f64,
            rate / syncs,
        );
        let row = Row::new(what, rate, Unit::PerSecond).beside(beside);
        table.push(match budget {
            Some(budget) => row.at_least(budget).peers("1507; 819 /s"),
            None => row,
        });
    }
    let mut load = fan(access, GET_CONNECTIONS, options.gets, "create-16", get).await?;
    table.push(
        Row::new(format!("gets, {GET_CONNECTIONS} connections"), load.rate(options.gets), Unit::PerSecond)
            .at_least(40_000.0)
            .beside(format!("p50 {:.2} p99 {:.2} ms", load.samples.percentile_ms(50), load.samples.percentile_ms(99)))
            .peers("3778; 1435 /s"),
    );
    for (objects, budget) in [(1_000, Some(2.0)), (5_000, None)] {
        let namespace = new_namespace(access, &format!("list-{objects}")).await?;
        fan(access, GET_CONNECTIONS, objects, &namespace, create).await?;
        let mut load = fan(access, LIST_CONNECTIONS, options.lists, &namespace, list).await?;
        let mut copy = raw::tls_copies(LIST_CONNECTIONS, options.lists, load.bytes).await?;
        let beside =
            format!("{:.1} MB; the same bytes over bare TLS {:.1} ms", load.bytes as f64 / 1e6, copy.percentile_ms(50));
        let what = format!("list of {objects} on {LIST_CONNECTIONS} connections, p50");
        let row = Row::new(what, load.samples.percentile_ms(50), Unit::Milliseconds).beside(beside);
        table.push(match budget {
            Some(budget) => row.at_most(budget).peers("30; 66 ms"),
            None => row,
        });
    }
    Ok(())
}

async fn new_namespace(access: &Access, name: &str) -> Result<String> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string();
    access.connect().await?.post("/api/v1/namespaces", body).await?;
    Ok(name.to_owned())
}

fn path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

fn create<'a>(connection: &'a mut Connection, namespace: &'a str, number: usize) -> StepFuture<'a> {
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("c-{number}"), "labels": {"app": "bench"}},
        "data": {"payload": "x".repeat(PAYLOAD_BYTES)},
    });
    Box::pin(async move { Ok(connection.post(&path(namespace), body.to_string()).await?.len()) })
}

fn get<'a>(connection: &'a mut Connection, namespace: &'a str, number: usize) -> StepFuture<'a> {
    Box::pin(async move { Ok(connection.get(&format!("{}/c-{}", path(namespace), number % 1000)).await?.len()) })
}

fn list<'a>(connection: &'a mut Connection, namespace: &'a str, _number: usize) -> StepFuture<'a> {
    Box::pin(async move { Ok(connection.get(&path(namespace)).await?.len()) })
}

/// `count` requests over so many connections that are opened before the clock starts.
async fn fan(access: &Access, connections: usize, count: usize, namespace: &str, step: Step) -> Result<Load> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(access.connect().await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut connection in open {
        let (next, namespace) = (next.clone(), namespace.to_owned());
        tasks.spawn(async move {
            let (mut samples, mut bytes) = (Samples::default(), 0);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok((samples, bytes));
                }
                let begun = Instant::now();
                bytes = step(&mut connection, &namespace, number).await?;
                samples.add(begun.elapsed());
            }
        });
    }
    let (mut samples, mut bytes) = (Samples::default(), 0);
    while let Some(done) = tasks.join_next().await {
        let (some, length) = done??;
        samples.extend(some);
        bytes = bytes.max(length);
    }
    Ok(Load { samples, wall: begun.elapsed(), bytes })
}
