//! Measures a one-machine cluster against its budgets: `scripts/bench`.
//!
//! The release's own programs run by the tests' harness in a network namespace, with their data on a block device
//! whose statistics tell what was written. In reading order: `options`; `device`, `client` and `pod` are what is
//! measured with; `start`, `idle` with `footprint`, `pods`, `probes`, `api` measure; `raw` is the machine's own speed beside
//! them; `samples` and `table` are what comes out.
//!
//! Absent on purpose: a verdict. Figures from a busy or another machine say little, so nothing fails by them.

#[path = "cluster/api.rs"]
mod api;
#[path = "cluster/client.rs"]
mod client;
#[path = "cluster/device.rs"]
mod device;
#[path = "cluster/footprint.rs"]
mod footprint;
#[path = "cluster/idle.rs"]
mod idle;
#[path = "cluster/options.rs"]
mod options;
#[path = "cluster/pod.rs"]
mod pod;
#[path = "cluster/pods.rs"]
mod pods;
#[path = "cluster/probes.rs"]
mod probes;
#[path = "cluster/raw.rs"]
mod raw;
#[path = "cluster/samples.rs"]
mod samples;
#[path = "cluster/start.rs"]
mod start;
#[allow(dead_code, reason = "shared with the other benches")]
#[path = "cluster/table.rs"]
mod table;

use anyhow::{Context, Result, bail};
use tests::cluster::Cluster;
use tests::program::built;

use crate::device::Device;
use crate::options::Options;
use crate::table::{Row, Table, Unit};

const BYTES_PER_MIB: f64 = (1 << 20) as f64;

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut table = Table::default();
    let outcome = run(&options, &mut table);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("\n{table}\nload at the end: {}", load.trim());
    outcome
}

fn run(options: &Options, table: &mut Table) -> Result<()> {
    if options.wants("size") {
        size(table)?;
    }
    let device = Device::create()?;
    let mut cluster = Cluster::prepare(&device.path());
    // Before the first thread: all of them must reach the cluster.
    cluster.namespace.enter();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = measure(options, &mut cluster, &device, table) => done,
            // So that what was made is taken away.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    });
    if done.is_err() {
        eprintln!("---- the cluster's log\n{}", cluster.log());
    }
    done
}

async fn measure(options: &Options, cluster: &mut Cluster, device: &Device, table: &mut Table) -> Result<()> {
    cluster.import_demo();
    let mut unwanted = Table::default();
    let wants_start = options.wants("start");
    start::measure(cluster, "fresh", if wants_start { table } else { &mut unwanted }).await?;
    let access = start::ready(cluster).await;
    if options.wants("idle") {
        idle::measure(cluster, device, options.idle, table).await?;
    }
    if options.wants("pods") {
        pods::measure(cluster, &access, table).await?;
    }
    if options.wants("probes") {
        probes::measure(cluster, &access, options.probes, table).await?;
    }
    if options.wants("api") {
        api::measure(&access, device, options, table).await?;
    }
    if options.wants("pods") || options.wants("api") {
        footprint::memory(cluster, "after the load", false, table)?;
    }
    if wants_start {
        cluster.stop_up();
        start::measure(cluster, "warm", table).await?;
    }
    Ok(())
}

/// The programs as they are shipped.
fn size(table: &mut Table) -> Result<()> {
    let mib = |name: &str| {
        let path = built(name);
        let metadata = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()));
        metadata.map(|metadata| metadata.len() as f64 / BYTES_PER_MIB)
    };
    let (server, agent) = (mib("bramble")?, mib("bramble-agent")?);
    table.push(
        Row::new("binaries, stripped, both", server + agent, Unit::Mebibytes)
            .at_most(15.0)
            .beside(format!("bramble {server:.1}, bramble-agent {agent:.1} MiB"))
            .peers("385 MiB; 77 MiB on a Pi 4"),
    );
    Ok(())
}
