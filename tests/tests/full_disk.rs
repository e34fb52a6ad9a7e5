//! A one-machine cluster whose disk has no room left, and has some again.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use tests::cluster::{Cluster, DEMO};
use tests::luck::Luck;
use tests::program::{Said, eventually};
use tests::registry::Registry;

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

    /// Little fits any more.
    fn fill_but(&self, left_bytes: u64) {
        let disk = nix::sys::statvfs::statvfs(self.0.path()).unwrap();
        let filler = std::fs::File::create(self.filler()).unwrap();
        let taken = disk.blocks_available() * disk.fragment_size() - left_bytes;
        nix::fcntl::posix_fallocate(&filler, 0, taken.cast_signed()).unwrap();
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

/// A cluster on a small disk. What ends pods for lack of disk has its own tests.
fn start_on(disk: &SmallDisk) -> Cluster {
    let mut cluster = Cluster::prepare(disk.0.path());
    let thresholds = "evictionHard: {nodefs.available: 0Mi, nodefs.inodesFree: 0Mi}\n";
    std::fs::write(cluster.path().join("agent.yaml"), thresholds).unwrap();
    cluster.up();
    cluster.wait_ready();
    cluster
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_loses_nothing_and_needs_no_help_once_there_is_room() {
    let disk = SmallDisk::mount();
    let elsewhere = tempfile::tempdir().unwrap();
    let unused = elsewhere.path().join("unused.tar");
    // Of another content than the demo's, which would be the same image by another name.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo-image");
    Said::by(Command::new(script).arg(&unused).args(["bramble.local/unused:1", "/bin/true"])).ok();
    let cluster = start_on(&disk);
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

/// All files below these folders, but for those of `agent` and `store`.
fn files(cluster: &Cluster) -> BTreeSet<String> {
    let folders = ["images", "layers", "containers"].map(|name| cluster.data().join(name));
    let said = Said::by(Command::new("find").args(folders.iter().filter(|folder| folder.exists())));
    said.out.lines().map(str::to_owned).collect()
}

/// An image whose layer is incompressible and that large beside the demo's.
fn push_large(cluster: &Cluster, registry: &Registry, bytes: usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (busybox, archive) = (folder.path().join("busybox"), folder.path().join("large.tar"));
    let mut luck = Luck::new(1);
    let mut program = std::fs::read("/bin/busybox").unwrap();
    program.extend((0..bytes / 8).flat_map(|_| luck.draw().to_le_bytes()));
    std::fs::write(&busybox, program).unwrap();
    std::fs::set_permissions(&busybox, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo-image");
    Said::by(Command::new(script).arg(&archive).arg("large:1").arg(&busybox)).ok();
    registry.push(&cluster.namespace, &archive, "large:1")
}

#[test]
fn a_pull_that_finds_no_room_waits_with_nothing_half_done_and_works_once_there_is_room() {
    let disk = SmallDisk::mount();
    let cluster = start_on(&disk);
    let registry = Registry::start(&cluster.namespace);
    let image = push_large(&cluster, &registry, 24 << 20);
    let before = files(&cluster);
    disk.fill_but(12 << 20);
    cluster.k(&format!("run large --image={image}")).ok();
    eventually("the pod says why it waits", 60, || {
        let path = "jsonpath={.status.containerStatuses[0].state.waiting}";
        let said = cluster.kubectl(&["get", "pod", "large", "-o", path]).out;
        said.contains("ErrImagePull") && said.contains("No space left on device")
    });
    cluster.k("get events --field-selector involvedObject.name=large").shows("No space left on device");
    eventually("nothing half done is left", 60, || files(&cluster) == before);
    disk.make_room();
    cluster.k("wait pod large --for=condition=Ready --timeout=180s").ok();
}

#[test]
fn a_server_whose_last_checkpoint_found_no_room_says_so_and_starts_with_everything_once_there_is() {
    let disk = SmallDisk::mount();
    let mut cluster = start_on(&disk);
    for number in 0..20 {
        cluster.k(&format!("create configmap map-{number} --from-literal=a={}", "x".repeat(100_000))).ok();
    }
    disk.fill();
    cluster.stop_up();
    let told = cluster.log().len();
    cluster.up();
    eventually("the start names its cause", 30, || cluster.log()[told..].contains("No space left on device"));
    cluster.stop_up();
    disk.make_room();
    cluster.up();
    cluster.wait_ready();
    let found = cluster.k("get configmaps -o name").ok().to_owned();
    for number in 0..20 {
        assert!(found.lines().any(|line| line == format!("configmap/map-{number}")), "map-{number} is lost");
    }
}
