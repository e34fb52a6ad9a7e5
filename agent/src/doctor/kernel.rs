//! What the kernel can do, read from /proc and /sys.

use std::fs;
use std::path::Path;

use super::Finding;

/// What goes on the kernel's command line where its memory controller is off.
const MEMORY_WORDS: &str = "cgroup_enable=memory cgroup_memory=1";
/// Where Raspberry Pi OS keeps that line, newer first.
const COMMAND_LINES: [&str; 2] = ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"];
const NAMESPACES: [&str; 6] = ["net", "mnt", "pid", "ipc", "uts", "cgroup"];

/// A part of the kernel: its module, a function that is there when it is, whether no node works without it, and what for.
const PARTS: [(&str, &str, bool, &str); 3] = [
    ("overlay", "ovl_dentry_is_whiteout", true, "images' layers"),
    ("veth", "veth_newlink", true, "pods' links"),
    ("vxlan", "vxlan_newlink", false, "nodes that are not on one LAN"),
];

/// Where a part of the kernel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Running,
    /// A module that the kernel loads on first use.
    Loadable,
    /// A module, where nothing is loaded on first use.
    ByHand,
    Absent,
    Unknown,
}

pub fn check() -> Vec<Finding> {
    let mut findings = vec![root()];
    findings.extend(parts());
    findings.push(rules());
    findings.push(namespaces());
    findings.push(seccomp());
    findings.push(memory_cgroup());
    findings
}

fn root() -> Finding {
    match nix::unistd::geteuid().is_root() {
        true => Finding::good("root", "runs as root"),
        false => Finding::missing("root", "the agent mounts file systems and makes namespaces: run it as root (sudo)"),
    }
}

fn parts() -> Vec<Finding> {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let modules = Path::new("/lib/modules").join(release.trim());
    let built_in = fs::read_to_string(modules.join("modules.builtin")).ok();
    let loadable = fs::read_to_string(modules.join("modules.dep")).ok();
    let by_itself = loads_by_itself();
    PARTS
        .iter()
        .map(|(name, symbol, essential, purpose)| {
            let part = match locate(name, symbol, &symbols, built_in.as_deref(), loadable.as_deref()) {
                Part::Loadable if !by_itself => Part::ByHand,
                part => part,
            };
            finding(name, part, *essential, purpose, release.trim())
        })
        .collect()
}

/// Whether the kernel has a program that loads modules for it, and may load any.
fn loads_by_itself() -> bool {
    let setting = |name: &str| fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).unwrap_or_default();
    let program = setting("modprobe");
    setting("modules_disabled").trim() != "1" && !program.trim().is_empty() && Path::new(program.trim()).exists()
}

/// The packet filter's many modules are told by the kernel itself, which loads them for the question.
fn rules() -> Finding {
    let name = "nftables";
    match agent_network::missing_modules() {
        Ok(missing) if missing.is_empty() => Finding::good(name, "for Services, policies and the way out of pods"),
        Ok(missing) => Finding::missing(
            name,
            format!(
                "for Services, policies and the way out of pods; the kernel has no {}: see what modprobe {} says; after an upgrade of the kernel, restart the machine",
                missing.join(", "),
                missing[0]
            ),
        ),
        Err(error) => Finding::doubtful(name, crate::adapters::chain(&error)),
    }
}

fn locate(name: &str, symbol: &str, symbols: &str, built_in: Option<&str>, loadable: Option<&str>) -> Part {
    let listed = |list: &str| {
        list.lines().any(|line| {
            let file = line.split(':').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            file.split('.').next() == Some(name)
        })
    };
    let runs = symbols.lines().any(|line| line.split_whitespace().nth(2) == Some(symbol));
    if runs || Path::new("/sys/module").join(name).exists() || built_in.is_some_and(listed) {
        return Part::Running;
    }
    match loadable {
        Some(list) if listed(list) => Part::Loadable,
        Some(_) => Part::Absent,
        None => Part::Unknown,
    }
}

fn finding(name: &str, part: Part, essential: bool, purpose: &str, release: &str) -> Finding {
    match part {
        Part::Running => Finding::good(name, format!("for {purpose}")),
        Part::Loadable => Finding::good(name, format!("for {purpose}; a module that is loaded on first use")),
        Part::ByHand => Finding::doubtful(
            name,
            format!(
                "for {purpose}; a module, and the kernel does not load any by itself here. At every start: echo {name} > /etc/modules-load.d/bramble-{name}.conf; now: modprobe {name}"
            ),
        ),
        Part::Absent if essential => Finding::missing(
            name,
            format!(
                "for {purpose}; kernel {release} has no module of this name: install its package of further modules (linux-modules-extra) or another kernel"
            ),
        ),
        Part::Absent => Finding::doubtful(name, format!("for {purpose}; kernel {release} has no module of this name")),
        Part::Unknown => Finding::doubtful(
            name,
            format!(
                "for {purpose}; it does not run, and /lib/modules/{release} does not say whether it can (after an upgrade of the kernel, restart the machine)"
            ),
        ),
    }
}

fn namespaces() -> Finding {
    let absent: Vec<&str> =
        NAMESPACES.into_iter().filter(|kind| !Path::new("/proc/self/ns").join(kind).exists()).collect();
    match absent.is_empty() {
        true => Finding::good("namespaces", NAMESPACES.join(", ")),
        false => Finding::missing("namespaces", format!("the kernel lacks {}: use another one", absent.join(", "))),
    }
}

fn seccomp() -> Finding {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    match actions.split_whitespace().any(|action| action == "errno") {
        true => Finding::good("seccomp", "filters of system calls"),
        false => Finding::missing(
            "seccomp",
            "the kernel has no filters of system calls (CONFIG_SECCOMP_FILTER): use another one",
        ),
    }
}

fn memory_cgroup() -> Finding {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let is_cgroup = |line: &str| line.split(' ').nth(2).is_some_and(|kind| kind.starts_with("cgroup"));
    if !mounts.lines().any(is_cgroup) {
        return Finding::missing(
            "memory cgroup",
            "no cgroup file system is mounted: mount -t cgroup2 none /sys/fs/cgroup",
        );
    }
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let on = match controllers.trim().is_empty() {
        false => controllers.split_whitespace().any(|one| one == "memory"),
        true => Path::new("/sys/fs/cgroup/memory").exists(),
    };
    let boot = COMMAND_LINES.into_iter().find(|path| Path::new(path).exists());
    let words = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    memory_finding(on, boot, &words)
}

fn memory_finding(on: bool, boot: Option<&str>, words: &str) -> Finding {
    let name = "memory cgroup";
    if on {
        return Finding::good(name, "limits of memory hold");
    }
    let disabled = words.split_whitespace().any(|word| word == "cgroup_disable=memory");
    let why =
        if disabled { "the firmware turns it off (cgroup_disable=memory)" } else { "the kernel starts without it" };
    let help = match boot {
        Some(path) => format!("add to the one line of {path}, then restart:  {MEMORY_WORDS}"),
        None => format!("add to the kernel's command line, then restart:  {MEMORY_WORDS}"),
    };
    Finding::missing(name, format!("{why}; {help}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_pi_without_the_memory_cgroup_is_told_the_words_and_the_file() {
        let found = memory_finding(false, Some(COMMAND_LINES[0]), "console=tty1 cgroup_disable=memory root=/dev/sda");
        assert_eq!(found.verdict, Verdict::Missing);
        assert!(found.words.contains("cgroup_disable=memory"), "{}", found.words);
        assert!(
            found.words.ends_with("/boot/firmware/cmdline.txt, then restart:  cgroup_enable=memory cgroup_memory=1")
        );
        assert_eq!(memory_finding(true, None, "").verdict, Verdict::Good);
    }

    #[test]
    fn a_part_of_the_kernel_is_found_wherever_it_is() {
        let symbols = "0000 t some_function\n0000 t none_newlink [none]\n";
        let (built_in, loadable) = ("kernel/net/inner.ko\n", "kernel/net/outer.ko.xz: kernel/net/other.ko.xz\n");
        let find = |name: &str, symbol: &str, dep: Option<&str>| locate(name, symbol, symbols, Some(built_in), dep);
        assert_eq!(find("none", "none_newlink", None), Part::Running);
        assert_eq!(find("inner", "x", Some(loadable)), Part::Running);
        assert_eq!(find("outer", "x", Some(loadable)), Part::Loadable);
        assert_eq!(find("other", "x", Some(loadable)), Part::Absent);
        assert_eq!(find("other", "x", None), Part::Unknown);
    }
}
