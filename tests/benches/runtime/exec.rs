//! A process more in a container that runs: how long it takes, and how much processor time goes into it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::UsageWho;
use tests::process::{self, Whose};

use crate::node::Node;
use crate::peer::{Peers, processor_time};
use crate::sides::{Sides, show_ms};
use crate::table::Table;

pub async fn measure(node: &Node, peers: &Peers, execs: usize, table: &mut Table) -> Result<()> {
    peers.launch_sleepers().await?;
    node.exec().await?;
    peers.exec().await?;
    let mut sides = Sides::default();
    let [mut ours, mut crun, mut runc] = [Duration::ZERO; 3];
    // Nobody but our execs makes the shim work, so that its coarse clock is read twice in all.
    let shim_before = shim_time(node.shim_pid)?;
    for _ in 0..execs {
        let (begun, before) = (Instant::now(), processor_time(UsageWho::RUSAGE_SELF)?);
        node.exec().await?;
        let took = begun.elapsed();
        ours += processor_time(UsageWho::RUSAGE_SELF)? - before;
        let [(crun_took, crun_cpu), (runc_took, runc_cpu)] = peers.exec().await?;
        sides.add([took, crun_took, runc_took]);
        (crun, runc) = (crun + crun_cpu, runc + runc_cpu);
    }
    ours += shim_time(node.shim_pid)? - shim_before;
    let what = format!("exec of `true`, {execs} times");
    sides.show(&what, 50, table);
    sides.show(&what, 99, table);
    let each = |sum: Duration| sum.as_secs_f64() * 1000.0 / execs as f64;
    show_ms("exec of `true`, processor time with children", [each(ours), each(crun), each(runc)], table);
    Ok(())
}

/// Processor time of the shim and of all its children that ended: workers, and what they became.
fn shim_time(pid: u32) -> Result<Duration> {
    process::processor_time(pid.try_into()?, Whose::OwnAndReaped).context("the shim has ended")
}
