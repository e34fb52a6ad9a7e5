//! A one-machine cluster whose disk has no room left, and has some again.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::path::Path;
use std::process::Command;

use tests::cluster::{Cluster, DEMO};
use tests::program::{Said, eventually};

/// A small disk in memory for all that the cluster has; dropped after the cluster.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let disk = Self(tempfile::Builder::new().prefix("bramble-small-").tempdir().unwrap());
        Said::by(Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "small"]).arg(disk.0.path())).ok();
        disk
    }

    fn filler(&self) -> std::path::PathBuf {
        self.0.path().join("filler")
    }

    /// Nothing fits any more, not even what is written meanwhile.
    fn fill(&self) {
        let said =
            Said::by(Command::new("dd").args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", self.filler().display())));
        said.fails("No space left on device");
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

/// The log takes its room a mebibyte at a time: what is written after this finds most of one there.
fn leave_room_in_the_log(cluster: &Cluster) {
    let length =
        || ["log-0", "log-1"].map(|name| std::fs::metadata(cluster.data().join("store").join(name)).unwrap().len());
    let (before, value) = (length(), "x".repeat(100_000));
    let grown = (0..20).any(|number| {
        cluster.k(&format!("create configmap early-{number} --from-literal=a={value}")).ok();
        length() != before
    });
    assert!(grown, "twice a mebibyte was written");
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_loses_nothing_and_needs_no_help_once_there_is_room() {
    let disk = SmallDisk::mount();
    let elsewhere = tempfile::tempdir().unwrap();
    let unused = elsewhere.path().join("unused.tar");
    // Of another content than the demo's, which would be the same image by another name.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo-image");
    Said::by(Command::new(script).arg(&unused).args(["bramble.local/unused:1", "/bin/true"])).ok();
    let mut cluster = Cluster::prepare(disk.0.path());
    // What ends pods for lack of disk has its own tests.
    std::fs::write(
        cluster.path().join("agent.yaml"),
        "evictionHard: {nodefs.available: 0Mi, nodefs.inodesFree: 0Mi}\n",
    )
    .unwrap();
    cluster.up();
    cluster.wait_ready();
    cluster.import_demo();
    cluster.k(&format!("run first --image={DEMO}")).ok();
    cluster.k("wait pod first --for=condition=Ready --timeout=60s").ok();
    let first = cluster.container_pids("httpd");
    leave_room_in_the_log(&cluster);
    disk.fill();
    // Where it is, and where it is told, the cause has its name.
    cluster.agent(&["image", "import", unused.to_str().unwrap()]).fails("No space left on device");
    cluster.k(&format!("run second --image={DEMO}")).ok();
    eventually("an Event names the cause", 30, || {
        cluster.k("get events --field-selector involvedObject.name=second").out.contains("No space left on device")
    });
    let mut kept = Vec::new();
    let value = "x".repeat(100_000);
    let refused = (0..100).find_map(|number| {
        let said = cluster.k(&format!("create configmap map-{number} --from-literal=a={value}"));
        if said.code == 0 {
            kept.push(format!("configmap/map-{number}"));
            return None;
        }
        Some(said)
    });
    refused.expect("the store needs room").fails("No space left on device");
    // What is there goes on.
    cluster.k("get pod first").shows("Running");
    assert_eq!(cluster.container_pids("httpd"), first);
    disk.make_room();
    eventually("writes are taken again", 60, || cluster.k("create configmap after").code == 0);
    let found = cluster.k("get configmaps -o name").ok().to_owned();
    for name in &kept {
        assert!(found.lines().any(|line| line == name), "{name} is lost");
    }
    cluster.k("wait pod second --for=condition=Ready --timeout=90s").ok();
    cluster.agent(&["image", "import", unused.to_str().unwrap()]).ok();
    assert!(cluster.container_pids("httpd").contains(&first[0]), "the first pod did not notice");
    eventually("the node keeps the pod on its disk after all", 60, || {
        cluster.data().join("agent/cache/pods/default/second.json").exists()
    });
}
