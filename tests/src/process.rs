//! The machine's processes, so that a test finds those of its own cluster and no other's.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;

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
