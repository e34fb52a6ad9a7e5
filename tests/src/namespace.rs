//! A network namespace of the test's own, so that its cluster has every port and its traffic touches nothing real.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::program::Said;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace with loopback up and a default route to nowhere, so that "the default address" exists.
    pub fn create() -> Self {
        let namespace = Self::bare();
        // Stands for the machine's link to the world; its other end is in the namespace too.
        namespace.ip("link add eth0 type veth peer name lan0");
        namespace.ip("addr add 192.168.77.10/24 dev eth0");
        namespace.ip("link set eth0 up");
        namespace.ip("link set lan0 up");
        namespace.ip("route add default via 192.168.77.1 dev eth0");
        namespace
    }

    /// A new namespace with nothing but loopback.
    pub fn bare() -> Self {
        let name = format!("brt{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Said::by(Command::new("ip").args(["netns", "add", &name])).ok();
        let namespace = Self { name };
        namespace.ip("link set lo up");
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// An `ip` command inside.
    pub fn ip(&self, words: &str) -> String {
        let words = words.split_whitespace();
        Said::by(Command::new("ip").args(["-n", &self.name]).args(words)).ok().to_owned()
    }

    /// A shell line inside.
    pub fn sh(&self, line: &str) -> Said {
        Said::by(self.command(Path::new("sh")).args(["-c", line]))
    }

    /// Moves the calling thread inside, and with it every thread that it starts from now on.
    pub fn enter(&self) {
        let file = std::fs::File::open(format!("/run/netns/{}", self.name)).expect("the namespace is there");
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
    }

    /// A command that runs inside. Not `ip netns exec`: that hides /sys/fs/cgroup.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let said = Said::by(Command::new("ip").args(["netns", "del", &self.name]));
        if said.code != 0 {
            eprintln!("namespace {} stays behind: {}", self.name, said.err);
        }
    }
}
