//! Measures the agent's container runtime beside crun and runc: `scripts/bench runtime`.
//!
//! All three run the same containers in one pod's sandbox, by turns, so that what the machine does meanwhile meets all
//! alike: one root file system, the configuration that our runtime wrote, no seccomp profile on any side, a limit of
//! memory on each. In reading order: `options`; `node` is our side, `peer` the others' with `apart`, the mounts that
//! they see; `sandbox`, `container` and `exec` measure; `sides` is how three figures become rows.
//!
//! Absent on purpose: images and overlays, which the runtimes know nothing of. Logs are kept by ours alone: the peers
//! leave them to a program beside them, which is not counted.

#[path = "runtime/apart.rs"]
mod apart;
#[path = "runtime/container.rs"]
mod container;
#[path = "runtime/exec.rs"]
mod exec;
#[path = "runtime/node.rs"]
mod node;
#[path = "runtime/options.rs"]
mod options;
#[path = "runtime/peer.rs"]
mod peer;
#[allow(dead_code, reason = "shared with the other benches")]
#[path = "cluster/samples.rs"]
mod samples;
#[path = "runtime/sandbox.rs"]
mod sandbox;
#[path = "runtime/sides.rs"]
mod sides;
#[allow(dead_code, reason = "shared with the other benches")]
#[path = "cluster/table.rs"]
mod table;

use anyhow::{Context, Result, bail};

use crate::node::Node;
use crate::options::Options;
use crate::peer::Peers;
use crate::table::Table;

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut table = Table::default();
    let outcome = run(&options, &mut table);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("\n{table}\nload at the end: {}", load.trim());
    outcome
}

fn run(options: &Options, table: &mut Table) -> Result<()> {
    // A peer's container outlives the command that made it, and its end must be seen by somebody.
    nix::sys::prctl::set_child_subreaper(true).context("cannot become a subreaper")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = measure(options, table) => done,
            // So that what was made is taken away.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

async fn measure(options: &Options, table: &mut Table) -> Result<()> {
    let mut node = Node::start().await?;
    if options.wants("sandbox") {
        sandbox::measure(&node, options.rounds, table).await.context("sandboxes")?;
    }
    let peers = Peers::start(&node)?;
    if options.wants("container") {
        container::measure(&mut node, &peers, options.rounds, table).await.context("containers")?;
    }
    if options.wants("exec") {
        exec::measure(&node, &peers, options.execs, table).await.context("execs")?;
    }
    Ok(())
}
