//! Cgroups of pods and of their service classes, on v1 and v2, and what all processes in one need: an end.

pub(crate) mod device;
pub(crate) mod stats;

use std::fs;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use cgroups_rs::MaxValue;
use cgroups_rs::cgroup::Cgroup;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::hierarchies;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::layout::SandboxDir;
use crate::spec::{QosClass, Resources};

pub(crate) const ROOT: &str = "/sys/fs/cgroup";
/// Folders below a pod's cgroup: its containers, and what a privileged one makes below them.
const DEPTH_MAX: usize = 16;
/// Processes that fork while being killed are killed again, so often.
const KILL_ROUNDS_MAX: usize = 50;
/// How long a killed process may take to die before it is given up.
const KILL_WAIT_MS: u16 = 5_000;

/// True on a machine with cgroup v2 alone.
pub(crate) fn is_unified() -> bool {
    hierarchies::is_cgroup2_unified_mode()
}

/// A pod's cgroup below each hierarchy's mount, as the kubelet lays them out.
pub(crate) fn pod_path(parent: &str, qos: QosClass, uid: &str) -> String {
    match qos {
        QosClass::Guaranteed => format!("{parent}/pod{uid}"),
        QosClass::Burstable => format!("{parent}/burstable/pod{uid}"),
        QosClass::BestEffort => format!("{parent}/besteffort/pod{uid}"),
    }
}

/// Makes the cgroup with its parents, and sets its limits. Fine when it exists.
pub(crate) fn create(path: &str, limits: &Resources) -> io::Result<()> {
    let other = |error: cgroups_rs::error::Error| io::Error::other(format!("cgroup {path}: {error}"));
    let group = Cgroup::new(hierarchies::auto(), path).map_err(other)?;
    if is_unified() {
        enable_controllers(path)?;
    }
    if let Some(cpu) = group.controller_of::<CpuController>() {
        if let Some(shares) = limits.cpu_shares {
            cpu.set_shares(if is_unified() { weight(shares) } else { shares.max(2) }).map_err(other)?;
        }
        if limits.cpu_quota_us.is_some() {
            cpu.set_cfs_quota_and_period(limits.cpu_quota_us, limits.cpu_period_us).map_err(other)?;
        }
    }
    if let (Some(limit), Some(memory)) = (limits.memory_limit_bytes, group.controller_of::<MemController>()) {
        memory.set_limit(limit).map_err(other)?;
    }
    if let (Some(limit), Some(pids)) = (limits.pids_limit, group.controller_of::<PidController>()) {
        pids.set_pid_max(MaxValue::Value(limit)).map_err(other)?;
    }
    Ok(())
}

/// Hands all controllers on to a cgroup's children: they are made by others.
fn enable_controllers(path: &str) -> io::Result<()> {
    let dir = Path::new(ROOT).join(path);
    for controller in fs::read_to_string(dir.join("cgroup.controllers"))?.split_whitespace() {
        // One that cannot be delegated must not keep the others off.
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    Ok(())
}

/// Shares (2 to 262144) as a v2 weight (1 to 10000), as current container runtimes convert them, the library too:
/// a curve through the two ends and the defaults, 1024 and 100.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil() as u64
        }
    }
}

/// The cgroup's folder in each hierarchy.
pub(crate) fn folders(path: &str) -> Vec<PathBuf> {
    if is_unified() {
        return vec![Path::new(ROOT).join(path)];
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(ROOT).into_iter().flatten().flatten() {
        // `cpu` and `cpuacct` may be links to one mount.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let folder = entry.path().join(path.trim_start_matches('/'));
            if folder.is_dir() {
                folders.push(folder);
            }
        }
    }
    folders
}

/// Where shims are kept: out of the cgroup of the agent's service, which a supervisor empties as it likes, and out of
/// their pods', since a v2 cgroup with children holds no process.
pub(crate) fn shims_path(parent: &str) -> String {
    format!("{parent}/shims")
}

/// Where one pod's shim is kept, with its workers: a killed shim leaves those, and they go on making what it asked for.
pub(crate) fn shim_path(parent: &str, dir: &SandboxDir) -> String {
    let name = dir.0.file_name().unwrap_or_default().to_string_lossy();
    format!("{}/{name}", shims_path(parent))
}

/// Moves a process, and what it starts from now on, to a cgroup without children, which is made where it is not there.
pub(crate) fn keep(path: &str, pid: u32) -> io::Result<()> {
    let put = |folder: &Path| {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("cgroup.procs"), pid.to_string())
    };
    if is_unified() {
        return put(&Path::new(ROOT).join(path));
    }
    for hierarchy in children(Path::new(ROOT)) {
        // One that takes no process, such as cpuset before it is set up, counts nothing for the shim.
        let _ = put(&hierarchy.join(path));
    }
    Ok(())
}

/// Kills every process in the cgroup and below it, and waits for their end.
pub(crate) fn kill(path: &str) -> io::Result<()> {
    for folder in folders(path) {
        let _ = fs::write(folder.join("cgroup.kill"), "1");
        for _ in 0..KILL_ROUNDS_MAX {
            let pids = pids(&folder, 0);
            if pids.is_empty() {
                break;
            }
            kill_all(&pids)?;
        }
    }
    Ok(())
}

fn kill_all(pids: &[i32]) -> io::Result<()> {
    let held: Vec<OwnedFd> = pids.iter().filter_map(|pid| pidfd(*pid)).collect();
    for pid in pids {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::SIGKILL);
    }
    for fd in &held {
        poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(KILL_WAIT_MS))?;
    }
    Ok(())
}

#[allow(unsafe_code)]
pub(crate) fn pidfd(pid: i32) -> Option<OwnedFd> {
    // SAFETY: a plain system call; the descriptor that it gives is new and nobody else's.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

fn pids(folder: &Path, depth: usize) -> Vec<i32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    // A process of a foreign pid namespace reads as 0.
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect();
    if depth < DEPTH_MAX {
        for child in children(folder) {
            pids.extend(self::pids(&child, depth + 1));
        }
    }
    pids
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Removes the cgroup and those below it; they have no process any more.
pub(crate) fn remove(path: &str) -> io::Result<()> {
    let mut result = Ok(());
    for folder in folders(path) {
        if let Err(error) = remove_tree(&folder, 0) {
            result = Err(error);
        }
    }
    result
}

fn remove_tree(folder: &Path, depth: usize) -> io::Result<()> {
    if depth < DEPTH_MAX {
        for child in children(folder) {
            remove_tree(&child, depth + 1)?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_at_both_ends_and_at_the_default() {
        assert_eq!((weight(0), weight(2), weight(512), weight(1024), weight(262_144)), (1, 1, 59, 100, 10_000));
    }

    #[test]
    fn a_guaranteed_pod_lies_directly_below_the_parent() {
        assert_eq!(pod_path("bramble-0", QosClass::Guaranteed, "u"), "bramble-0/podu");
        assert_eq!(pod_path("bramble-0", QosClass::BestEffort, "u"), "bramble-0/besteffort/podu");
    }
}
