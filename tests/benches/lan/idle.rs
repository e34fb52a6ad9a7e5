//! What an agent costs that has one pod or none and nothing to do: processor, wake-ups, bytes written.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::lab::Lab;

use crate::options::Options;
use crate::table::{Row, Table, Unit};

/// Status reports, and what an agent keeps of the cluster, which it writes a while after it was told.
const SETTLE: Duration = Duration::from_secs(75);

/// One agent, out of /proc.
#[derive(Default, Clone, Copy)]
struct Spent {
    cpu_nanos: u64,
    wake_ups: u64,
    written_bytes: u64,
}

impl Spent {
    fn so_far(process: &std::path::Path) -> Result<Self> {
        let mut spent = Self::default();
        for task in fs::read_dir(process.join("task"))? {
            let task = task?.path();
            let text = fs::read_to_string(task.join("schedstat"))?;
            spent.cpu_nanos += text.split(' ').next().context("a time")?.parse::<u64>()?;
            let status = fs::read_to_string(task.join("status"))?;
            spent.wake_ups += number(&status, "voluntary_ctxt_switches:")?;
        }
        spent.written_bytes = number(&fs::read_to_string(process.join("io"))?, "write_bytes:")?;
        Ok(spent)
    }
}

fn number(text: &str, field: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
    Ok(line.trim().parse()?)
}

pub fn measure(lab: &Lab, options: Options, table: &mut Table) -> Result<()> {
    std::thread::sleep(SETTLE);
    let mut agents = Vec::new();
    for node in &lab.nodes {
        let pid = fs::read_to_string(node.data().join("agent.pid"))?;
        agents.push(PathBuf::from("/proc").join(pid.trim()));
    }
    let all = || agents.iter().map(|agent| Spent::so_far(agent)).collect::<Result<Vec<_>>>();
    let before = all()?;
    std::thread::sleep(options.idle);
    let after = all()?;
    let count = agents.len() as f64;
    let of = |field: fn(&Spent) -> u64| {
        let sum: u64 = before.iter().zip(&after).map(|(before, after)| field(after) - field(before)).sum();
        sum as f64 / count
    };
    let seconds = options.idle.as_secs_f64();
    let row = |what: &str, value: f64, unit: Unit| {
        Row::new(format!("an idle agent of {count}: {what}, over {} s", options.idle.as_secs()), value, unit)
    };
    table.push(row("CPU of a core", 100.0 * of(|spent| spent.cpu_nanos) / 1e9 / seconds, Unit::Percent));
    table.push(row("wake-ups", of(|spent| spent.wake_ups) / seconds, Unit::PerSecond));
    table.push(row("written a day", of(|spent| spent.written_bytes) / 1e6 * 86_400.0 / seconds, Unit::Megabytes));
    Ok(())
}
