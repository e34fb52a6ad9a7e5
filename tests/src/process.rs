//! The machine's processes, so that a test finds those of its own cluster and no other's.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// One line of `ps`.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    pub parent: i32,
    pub arguments: String,
}

/// All processes at one moment, by pid.
#[derive(Debug)]
pub struct Processes(BTreeMap<i32, Process>);

impl Processes {
    /// Reads /proc.
    pub fn now() -> Self {
        let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        Self(entries.filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect())
    }

    /// Whether an ancestor of `pid` is a shim that was started for `data`.
    pub fn descends(&self, pid: i32, data: &str) -> bool {
        let mut at = self.0.get(&pid).map_or(0, |process| process.parent);
        while let Some(process) = self.0.get(&at) {
            if process.name.starts_with("bramble-shim") && process.arguments.contains(data) {
                return true;
            }
            at = process.parent;
        }
        false
    }
}

impl Deref for Processes {
    type Target = BTreeMap<i32, Process>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A process that is not a zombie.
fn read(pid: i32) -> Option<(i32, Process)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let mut rest = stat[close + 1..].split_whitespace();
    let state = rest.next()?;
    let parent = rest.next()?.parse().ok()?;
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
    (state != "Z").then(|| (pid, Process { name: stat[open + 1..close].to_owned(), parent, arguments }))
}

/// Whose processor time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Own,
    /// Its children's that ended, too: a shim's are workers, and what execs ran.
    OwnAndReaped,
}

/// What a process has spent so far, in the kernel's coarse ticks; none where it has ended.
pub fn processor_time(pid: i32, whose: Whose) -> Option<Duration> {
    let ticks_per_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.rsplit_once(')')?.1;
    // utime, stime, cutime and cstime are fields 14 to 17; the rest begins with field 3.
    let fields = if whose == Whose::Own { 2 } else { 4 };
    let ticks: i64 = rest.split_whitespace().skip(11).take(fields).filter_map(|field| field.parse::<i64>().ok()).sum();
    Some(Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64))
}
