//! What a machine must have, told in plain words before anything is tried.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

pub fn check_machine() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the agent must run as root: it mounts file systems and makes namespaces");
    }
    check_memory_cgroup()
}

/// Pi OS leaves the memory controller off.
fn check_memory_cgroup() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let is_cgroup = |line: &str| line.split(' ').nth(2).is_some_and(|kind| kind.starts_with("cgroup"));
    if !mounts.lines().any(is_cgroup) {
        bail!("no cgroup file system is mounted here (`ip netns exec` hides it: use `nsenter --net`)");
    }
    let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let has_memory = match &unified {
        Ok(controllers) if !controllers.trim().is_empty() => controllers.split_whitespace().any(|one| one == "memory"),
        _ => Path::new("/sys/fs/cgroup/memory").exists(),
    };
    if !has_memory {
        bail!(
            "the memory cgroup is off: add \"cgroup_enable=memory cgroup_memory=1\" to the kernel's command line \
             (/boot/firmware/cmdline.txt on Raspberry Pi OS) and restart the machine"
        );
    }
    Ok(())
}
