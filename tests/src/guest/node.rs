//! A guest that is a whole cluster: our programs, kubectl, the demo's image, and what a node needs of its kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Guest, NODE_MODULES};
use crate::cluster::DEMO;
use crate::program::{built, kubectl};
use crate::registry::demo_archive;

/// Where programs keep their data unless they are told otherwise.
pub const DATA: &str = "/var/lib/bramble";

/// Waits in the guest's shell: `$1` is what for, the rest is asked each second.
const AWAIT: &str = "await() { what=$1; shift; n=0; until \"$@\" >/dev/null 2>&1; do \
    [ $n -lt 90 ] || { echo in vain: $what; tail -50 /tmp/up.log; return 1; }; n=$((n+1)); sleep 1; done; }";

impl Guest {
    /// One in which [`Guest::start_script`] works.
    pub fn node() -> Self {
        let guest = Self::new();
        guest.install_modules(&NODE_MODULES);
        for program in ["bramble", "bramble-agent"] {
            guest.install(&built(program));
        }
        guest.copy(&program_path(&kubectl()), "/bin/kubectl");
        let folder = tempfile::tempdir().expect("a folder for the demo's image");
        guest.copy(&demo_archive(folder.path(), DEMO), "/demo.tar");
        guest
    }

    /// Lines that start the cluster, logging to /tmp/up.log, and wait for its node; afterwards `kubectl` works, and
    /// `await WHAT COMMAND` waits for a command to succeed.
    pub fn start_script() -> String {
        format!(
            r#"{AWAIT}
            ip link add eth0 type veth
            ip addr add 192.168.77.10/24 dev eth0
            ip link set eth0 up
            ip link set veth0 up
            ip route add default via 192.168.77.1 dev eth0
            {bramble} --data-dir {DATA} up >/tmp/up.log 2>&1 &
            export KUBECONFIG={DATA}/kubeconfig
            await "the API" kubectl get serviceaccount default
            await "a node" kubectl get node guest
            kubectl wait --for=condition=Ready node/guest --timeout=240s
            {agent} --data-dir {DATA} image import /demo.tar"#,
            bramble = built("bramble").display(),
            agent = built("bramble-agent").display(),
        )
    }
}

/// Where a program lies that may be named without its folder.
pub fn program_path(name: &Path) -> PathBuf {
    let mut shell = Command::new("sh");
    let out = shell.args(["-c", "command -v \"$0\""]).arg(name).output().expect("a shell");
    let path = PathBuf::from(String::from_utf8(out.stdout).expect("a path is text").trim());
    fs::canonicalize(path).expect("the program is installed")
}
