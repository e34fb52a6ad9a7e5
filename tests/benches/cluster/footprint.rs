//! Memory and processor time of the cluster's own programs, out of /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::cluster::Cluster;
use tests::process::{Processes, Whose, processor_time};

use crate::table::{Row, Table, Unit};

const KIB_PER_MIB: f64 = 1024.0;
/// The budget of the agent without pods, and of each pod.
const AGENT_MIB: f64 = 12.0;
const EACH_POD_MIB: f64 = 1.0;

/// All programs of the cluster but the containers: `up`, server, agent and shims, and which of them are shims.
fn programs(cluster: &Cluster) -> Vec<(i32, bool)> {
    let data = cluster.data().display().to_string();
    let ours = |name: &str, arguments: &str| name.starts_with("bramble") && arguments.contains(&data);
    let processes = Processes::now();
    processes
        .iter()
        .filter(|(_, process)| ours(&process.name, &process.arguments))
        .map(|(pid, process)| (*pid, process.name.starts_with("bramble-shim")))
        .collect()
}

/// The proportional share of memory, in MiB.
fn pss_mib(pid: i32) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("the kernel counts PSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / KIB_PER_MIB)
}

/// Processor time spent so far, in seconds. Who has ended meanwhile is counted with the parent.
pub fn cpu_seconds(cluster: &Cluster, whose: Whose) -> f64 {
    let times = programs(cluster).into_iter().filter_map(|(pid, _)| processor_time(pid, whose));
    times.sum::<Duration>().as_secs_f64()
}

/// Memory of each program; `when` tells which moment it is.
pub fn memory(cluster: &Cluster, when: &str, budgeted: bool, table: &mut Table) -> Result<()> {
    let of = |name: &str| pss_mib(cluster.pid(name).with_context(|| format!("{name} runs"))?.as_raw());
    let (server, agent, up) = (of("server")?, of("agent")?, of("up")?);
    let row = |what: &str, value: f64| Row::new(format!("{what}, PSS {when}"), value, Unit::Mebibytes);
    let budget = |row: Row, mib: f64| if budgeted { row.at_most(mib) } else { row };
    let peers = if budgeted { "709 MiB; 555 MiB" } else { "" };
    table.push(budget(row("server + agent + up", server + agent + up), 35.0).peers(peers));
    table.push(row("server", server));
    table.push(budget(row("agent", agent), AGENT_MIB).peers(if budgeted { "; 268 MiB on a Pi 4" } else { "" }));
    table.push(row("up", up));
    Ok(())
}

/// Memory of all programs, and how many shims are among them.
#[derive(Clone, Copy)]
pub struct Sum {
    mib: f64,
    shims: usize,
}

impl Sum {
    pub fn now(cluster: &Cluster) -> Self {
        let programs = programs(cluster);
        let shims = programs.iter().filter(|(_, is_shim)| *is_shim).count();
        // A program that ended meanwhile has no memory.
        Self { mib: programs.iter().filter_map(|(pid, _)| pss_mib(*pid).ok()).sum(), shims }
    }
}

/// What each pod more costs: one shim alone would be charged for the text that it shares with the agent.
pub fn each_pod(before: Sum, after: Sum, table: &mut Table) {
    let shims = after.shims - before.shims;
    let each = (after.mib - before.mib) / shims as f64;
    let row = Row::new("each pod more, PSS of all programs", each, Unit::Mebibytes);
    table.push(row.at_most(EACH_POD_MIB).beside(format!("{shims} shims, {:.1} MiB in all", after.mib)));
}

/// What the agent costs with the pods that there are, and what it does with their shims.
pub fn with_pods(cluster: &Cluster, table: &mut Table) -> Result<()> {
    let agent = pss_mib(cluster.pid("agent").context("agent runs")?.as_raw())?;
    let shims: Vec<i32> = programs(cluster).iter().filter(|(_, is_shim)| *is_shim).map(|(pid, _)| *pid).collect();
    let all = agent + shims.iter().filter_map(|pid| pss_mib(*pid).ok()).sum::<f64>();
    let pods = shims.len();
    table.push(Row::new(format!("agent, PSS with {pods} pods"), agent, Unit::Mebibytes));
    let row = Row::new(format!("agent + shims, PSS with {pods} pods"), all, Unit::Mebibytes);
    table.push(row.at_most(AGENT_MIB + pods as f64 * EACH_POD_MIB));
    Ok(())
}
