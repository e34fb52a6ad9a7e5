//! One machine of a lab: a network and a mount namespace, a data folder, and an agent that runs or does not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lan::{Cable, Lan, readdress};
use crate::namespace::Namespace;
use crate::process::Processes;
use crate::program::{Said, built, eventually};

/// Switched off and removed when dropped.
pub struct Machine {
    pub name: String,
    pub address: String,
    folder: PathBuf,
    network: Option<Namespace>,
    cable: Option<Cable>,
    /// Holds the mount namespace.
    holder: Option<Child>,
    agent: Option<Child>,
}

impl Machine {
    /// Powered on and plugged in, with no agent yet. `folder` must be there for as long as the machine is.
    pub fn new(lan: &Lan, folder: &Path, name: &str, address: &str) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).expect("a machine's folder");
        let mut machine = Self {
            name: name.to_owned(),
            address: address.to_owned(),
            folder,
            network: None,
            cable: None,
            holder: None,
            agent: None,
        };
        machine.power_on(lan);
        machine
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("agent.log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub fn network(&self) -> &Namespace {
        self.network.as_ref().expect("the machine is on")
    }

    pub fn cable(&self) -> &Cable {
        self.cable.as_ref().expect("the machine is on")
    }

    pub fn power_on(&mut self, lan: &Lan) {
        let network = Namespace::bare();
        self.cable = Some(lan.plug(&network, &self.address));
        let mut holder = network.command(Path::new("unshare"));
        holder.args(["--mount", "--propagation", "private", "sleep", "infinity"]);
        self.holder = Some(holder.spawn().expect("unshare runs"));
        self.network = Some(network);
        let pid = self.holder_pid();
        let own = fs::read_link("/proc/self/ns/mnt").expect("this process has a mount namespace");
        eventually("the machine has its own mounts", 10, || {
            fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|theirs| theirs != own)
        });
    }

    fn holder_pid(&self) -> u32 {
        self.holder.as_ref().expect("the machine is on").id()
    }

    /// A program on this machine.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder_pid().to_string(), "--net", "--mount", "--wd=/", "--"]).arg(program);
        command
    }

    /// A shell line on this machine.
    pub fn sh(&self, line: &str) -> Said {
        Said::by(self.command(Path::new("sh")).args(["-c", line]))
    }

    /// A verb of `bramble-agent` on this machine.
    pub fn agent(&self, arguments: &[&str]) -> Said {
        Said::by(self.command(&built("bramble-agent")).arg("--data-dir").arg(self.data()).args(arguments))
    }

    /// Starts the agent with further arguments, such as a token.
    pub fn start_agent(&mut self, arguments: &[&str]) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).expect("a log file");
        let mut command = self.command(&built("bramble-agent"));
        command.arg("--data-dir").arg(self.data()).args(["--node-name", &self.name]).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.agent = Some(command.spawn().expect("bramble-agent runs"));
    }

    fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.data().join("agent.pid")).ok()?;
        Some(Pid::from_raw(text.trim().parse().ok()?))
    }

    /// Ends the agent with a signal and waits for it; pods go on.
    pub fn stop_agent(&mut self, signal: Signal) {
        let Some(mut agent) = self.agent.take() else { return };
        if let Some(pid) = self.pid() {
            let _ = kill(pid, signal);
        }
        for _ in 0..200 {
            if !matches!(agent.try_wait(), Ok(None)) {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        drop(agent.kill());
        drop(agent.wait());
    }

    /// Processes of this machine's containers and their shims.
    fn pod_pids(&self) -> Vec<Pid> {
        let data = self.data().display().to_string();
        let processes = Processes::now();
        let ours = processes.iter().filter(|(pid, process)| {
            (process.name.starts_with("bramble-shim") && process.arguments.contains(&data))
                || processes.descends(**pid, &data)
        });
        ours.map(|(pid, _)| Pid::from_raw(*pid)).collect()
    }

    /// Pulls the plug: everything that ran is gone at once, and what lay in memory with it.
    pub fn power_off(&mut self) {
        self.stop_agent(Signal::SIGKILL);
        let cgroups: BTreeSet<String> = self.pod_pids().into_iter().filter_map(cgroup_of).collect();
        for _ in 0..100 {
            let left = self.pod_pids();
            if left.is_empty() {
                break;
            }
            left.into_iter().for_each(kill_9);
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        if let Some(mut holder) = self.holder.take() {
            drop(holder.kill());
            drop(holder.wait());
        }
        cgroups.iter().for_each(|name| remove_cgroups(name));
        (self.cable, self.network) = (None, None);
    }

    /// Takes another address on the same LAN.
    pub fn move_to(&mut self, address: &str) {
        readdress(self.network(), Some(&self.address), address);
        address.clone_into(&mut self.address);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("---- the log of {}", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        if self.holder.is_some() {
            self.stop_agent(Signal::SIGKILL);
            // Nobody waits for the grace of what is thrown away.
            self.pod_pids().into_iter().for_each(kill_9);
            let said = self.agent(&["reset"]);
            if said.code != 0 {
                eprintln!("reset of {}: {}{}", self.name, said.out, said.err);
            }
        }
        self.power_off();
    }
}

/// A process that is gone already needs none.
fn kill_9(pid: Pid) {
    let _ = kill(pid, Signal::SIGKILL);
}

/// The node's own part of the hierarchy, `bramble-` and its key.
fn cgroup_of(pid: Pid) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let part = text.split(['/', '\n']).find(|part| part.starts_with("bramble-"))?;
    Some(part.to_owned())
}

/// A machine without power has none; this one's kernel is another's.
fn remove_cgroups(name: &str) {
    let Ok(hierarchies) = fs::read_dir("/sys/fs/cgroup") else { return };
    for hierarchy in hierarchies.flatten() {
        remove_below(&hierarchy.path().join(name));
    }
    remove_below(&Path::new("/sys/fs/cgroup").join(name));
}

fn remove_below(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    entries.flatten().filter(|entry| entry.path().is_dir()).for_each(|entry| remove_below(&entry.path()));
    for _ in 0..50 {
        // Its last process may be on its way out.
        if fs::remove_dir(folder).is_ok() || !folder.exists() {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}
