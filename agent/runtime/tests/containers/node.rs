//! A runtime of its own in a folder of its own, with a root filesystem made from Debian's static busybox.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use agent_runtime::{Config, ContainerSpec, Exited, Runtime, SandboxSpec};
use tokio::sync::mpsc;

/// Far more than anything here takes on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(30);
const BUSYBOX: &str = "/bin/busybox";
pub const POD: &str = "11111111-2222-3333-4444-555555555555";

pub struct Node {
    pub runtime: Runtime,
    pub events: mpsc::Receiver<Exited>,
    pub dir: PathBuf,
    #[allow(dead_code)]
    pub parent: String,
}

impl Node {
    /// Needs root and a network namespace: None where the machine does not give them.
    pub async fn start() -> Self {
        let unique = tempfile::Builder::new().prefix("br-rt-").tempdir().unwrap();
        let dir = unique.keep();
        let parent = format!("bramble-{}", dir.file_name().unwrap().to_string_lossy());
        make_rootfs(&dir.join("rootfs"));
        let runtime = Runtime::new(config(&dir, &parent)).await.unwrap();
        let events = runtime.events().unwrap();
        Self { runtime, events, dir, parent }
    }

    pub async fn with_pod() -> Self {
        let node = Self::start().await;
        node.runtime.create_sandbox(node.sandbox()).await.unwrap();
        node
    }

    pub fn sandbox(&self) -> SandboxSpec {
        SandboxSpec {
            uid: POD.into(),
            namespace: "default".into(),
            name: "web".into(),
            hostname: "web-0".into(),
            log_dir: self.dir.join("logs"),
            ..Default::default()
        }
    }

    /// A container that runs a shell script.
    pub fn shell(&self, id: &str, script: &str) -> ContainerSpec {
        ContainerSpec {
            id: id.into(),
            name: id.into(),
            rootfs: self.dir.join("rootfs"),
            args: vec!["/bin/sh".into(), "-c".into(), script.into()],
            log_path: self.dir.join(format!("logs/{id}/0.log")),
            ..Default::default()
        }
    }

    pub async fn launch(&self, spec: ContainerSpec) -> u32 {
        let id = spec.id.clone();
        let pid = self.runtime.create_container(POD, spec).await.unwrap();
        self.runtime.start(POD, &id).await.unwrap();
        pid
    }

    pub async fn ended(&mut self) -> Exited {
        tokio::time::timeout(LIMIT, self.events.recv()).await.expect("the container ends in time").unwrap()
    }

    /// Runs a container to its end: its exit, and its log's texts.
    pub async fn run(&mut self, spec: ContainerSpec) -> (Exited, Vec<String>) {
        let path = spec.log_path.clone();
        self.launch(spec).await;
        let ended = self.ended().await;
        (ended, texts(&path))
    }
}

pub fn config(dir: &Path, parent: &str) -> Config {
    Config { executable: env!("CARGO_BIN_EXE_runtime-roles").into(), ..Config::new(dir, parent) }
}

/// The texts of a CRI log.
pub fn texts(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned()).collect()
}

fn make_rootfs(root: &Path) {
    for dir in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let done = Command::new(BUSYBOX).arg("--install").arg("-s").arg(root.join("bin")).status().unwrap();
    assert!(done.success());
    // The links name the path that busybox was run by.
    for entry in fs::read_dir(root.join("bin")).unwrap().flatten() {
        if entry.file_type().unwrap().is_symlink() {
            fs::remove_file(entry.path()).unwrap();
            std::os::unix::fs::symlink("/bin/busybox", entry.path()).unwrap();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let runtime = self.runtime.clone();
        let removed = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(runtime.remove_all())
        })
        .join();
        let _ = fs::remove_dir_all(&self.dir);
        if !std::thread::panicking() {
            removed.unwrap().unwrap();
        }
    }
}
