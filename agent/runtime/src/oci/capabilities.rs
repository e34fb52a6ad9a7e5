//! Capability sets: the default of containerd, with what a container adds and drops.

use std::collections::BTreeSet;
use std::fs;

use crate::spec::ContainerSpec;

/// By bit number, as linux/capability.h has them.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The container's capabilities with their prefix, without those that this machine does not have itself.
pub(crate) fn of(spec: &ContainerSpec) -> Vec<String> {
    let held = held();
    wanted(spec)
        .into_iter()
        .filter(|name| NAMES.iter().position(|known| known == name).is_some_and(|bit| held & (1 << bit) != 0))
        .map(|name| format!("CAP_{name}"))
        .collect()
}

/// Refuses names that no kernel knows, for a misspelt drop would leave the capability in place, and single ones to be
/// added that this machine has not got. `ALL` is all that there is.
pub(crate) fn check(spec: &ContainerSpec) -> Result<(), String> {
    let bit = |name: &str| NAMES.iter().position(|known| *known == name);
    let all = spec.capabilities_add.iter().chain(&spec.capabilities_drop).map(|name| bare(name));
    if let Some(name) = all.into_iter().find(|name| name != "ALL" && bit(name).is_none()) {
        return Err(format!("there is no capability {name:?}"));
    }
    let held = held();
    let mut added = spec.capabilities_add.iter().map(|name| bare(name));
    match added.find(|name| bit(name).is_some_and(|bit| held & (1 << bit) == 0)) {
        Some(name) => Err(format!("this machine has no capability {name} to give")),
        None => Ok(()),
    }
}

fn bare(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
}

fn wanted(spec: &ContainerSpec) -> BTreeSet<String> {
    let all = || NAMES.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
    if spec.privileged {
        return all();
    }
    let add: BTreeSet<String> = spec.capabilities_add.iter().map(|name| bare(name)).collect();
    let drop: BTreeSet<String> = spec.capabilities_drop.iter().map(|name| bare(name)).collect();
    // The order of containerd: ALL on either side first, then the single names over it.
    let mut set: BTreeSet<String> = DEFAULT.iter().map(|name| name.to_string()).collect();
    if add.contains("ALL") {
        set = all();
    }
    if drop.contains("ALL") {
        set.clear();
    }
    set.extend(add.iter().filter(|name| *name != "ALL").cloned());
    set.retain(|name| !drop.contains(name));
    set
}

/// What this process may hand on, as a mask.
fn held() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("CapPrm:").map(str::to_owned)))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_dropped_before_single_names_are_added() {
        let spec = ContainerSpec {
            capabilities_add: vec!["CAP_NET_ADMIN".into()],
            capabilities_drop: vec!["all".into()],
            ..Default::default()
        };
        assert_eq!(wanted(&spec).into_iter().collect::<Vec<_>>(), ["NET_ADMIN"]);
        assert_eq!(wanted(&ContainerSpec::default()).len(), DEFAULT.len());
    }

    #[test]
    fn a_misspelt_capability_is_refused_in_either_list() {
        let drop = |name: &str| ContainerSpec { capabilities_drop: vec![name.into()], ..Default::default() };
        assert_eq!(check(&drop("NETRAW")), Err("there is no capability \"NETRAW\"".into()));
        assert_eq!([check(&drop("net_raw")), check(&drop("ALL"))], [Ok(()), Ok(())]);
        let add = ContainerSpec { capabilities_add: vec!["CAP_FLY".into()], ..Default::default() };
        assert_eq!(check(&add), Err("there is no capability \"FLY\"".into()));
    }
}
