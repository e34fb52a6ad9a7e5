//! Use of resources from cgroup files: the library's own way fails on kernels without hugetlb.

use std::fs;
use std::path::{Path, PathBuf};

use crate::status::Stats;

pub(crate) fn read(path: &str) -> Stats {
    if super::is_unified() { read_v2(&Path::new(super::ROOT).join(path)) } else { read_v1(path) }
}

/// How many processes of this cgroup the kernel has killed for want of memory.
pub(crate) fn oom_kills(path: &str) -> u64 {
    if super::is_unified() {
        return field(&Path::new(super::ROOT).join(path).join("memory.events"), "oom_kill");
    }
    controller(path, "memory").map_or(0, |folder| field(&folder.join("memory.oom_control"), "oom_kill"))
}

fn read_v2(folder: &Path) -> Stats {
    let usage = number(&folder.join("memory.current"));
    let stat = folder.join("memory.stat");
    Stats {
        cpu_usage_ns: field(&folder.join("cpu.stat"), "usage_usec") * 1000,
        memory_usage_bytes: usage,
        memory_working_set_bytes: usage.saturating_sub(field(&stat, "inactive_file")),
        memory_rss_bytes: field(&stat, "anon"),
        pids: number(&folder.join("pids.current")),
    }
}

fn read_v1(path: &str) -> Stats {
    let of = |name: &str, file: &str| controller(path, name).map_or(0, |folder| number(&folder.join(file)));
    let usage = of("memory", "memory.usage_in_bytes");
    let stat = controller(path, "memory").map(|folder| folder.join("memory.stat"));
    let total = |name: &str| stat.as_ref().map_or(0, |stat| field(stat, name));
    Stats {
        cpu_usage_ns: of("cpuacct", "cpuacct.usage"),
        memory_usage_bytes: usage,
        memory_working_set_bytes: usage.saturating_sub(total("total_inactive_file")),
        memory_rss_bytes: total("total_rss"),
        pids: of("pids", "pids.current"),
    }
}

fn controller(path: &str, name: &str) -> Option<PathBuf> {
    super::folders(path).into_iter().find(|folder| {
        let mount = folder.strip_prefix(super::ROOT).ok().and_then(|rest| rest.iter().next());
        mount.and_then(|mount| mount.to_str()).is_some_and(|mount| mount.split(',').any(|part| part == name))
    })
}

fn number(path: &Path) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The value of a `name value` line.
fn field(path: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
