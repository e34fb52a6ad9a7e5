//! What a cluster costs that has nothing to do.

use std::time::Duration;

use anyhow::Result;
use tests::cluster::Cluster;
use tests::process::Whose;

use crate::device::Device;
use crate::footprint;
use crate::table::{Row, Table, Unit};

/// After a start: status reports, the first writes to the log, the file system's journal. The checkpoint that follows
/// ten minutes later stays inside a window of ten minutes.
const SETTLE: Duration = Duration::from_secs(75);
/// A shorter window says nothing about a day.
const DAY_FROM_MIN: Duration = Duration::from_secs(600);
const CPU_WINDOW_MAX: Duration = Duration::from_secs(60);
const DAY_SECONDS: f64 = 86_400.0;

pub async fn measure(cluster: &Cluster, device: &Device, window: Duration, table: &mut Table) -> Result<()> {
    tokio::time::sleep(SETTLE.min(window)).await;
    footprint::memory(cluster, "at idle", true, table)?;
    let (cpu_before, before) = (footprint::cpu_seconds(cluster, Whose::Own), device.written()?);
    let cpu_window = window.min(CPU_WINDOW_MAX);
    tokio::time::sleep(cpu_window).await;
    let cpu = footprint::cpu_seconds(cluster, Whose::Own) - cpu_before;
    let share = 100.0 * cpu / cpu_window.as_secs_f64();
    let seconds = cpu_window.as_secs();
    table.push(
        Row::new(format!("idle CPU of a core, over {seconds} s"), share, Unit::Percent)
            .at_most(0.2)
            .peers("6.0; 4.6 %"),
    );
    tokio::time::sleep(window - cpu_window).await;
    let after = device.written()?;
    let (bytes, writes) = (after.bytes - before.bytes, after.writes - before.writes);
    let a_day = bytes as f64 / 1e6 * DAY_SECONDS / window.as_secs_f64();
    let row = Row::new(format!("written at idle a day, from {} s", window.as_secs()), a_day, Unit::Megabytes)
        .beside(format!("{bytes} bytes in {writes} writes"))
        .peers("; 500-900 MB");
    table.push(if window < DAY_FROM_MIN { row } else { row.at_most(10.0) });
    Ok(())
}
