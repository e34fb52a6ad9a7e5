//! Our side: a runtime of its own in a folder of its own, with one pod's sandbox and a container that sleeps in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_runtime::{Config, ContainerSpec, ExecSpec, Exited, Resources, Runtime, SandboxSpec, Seccomp};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::program::built;
use tokio::sync::mpsc;

const BUSYBOX: &str = "/bin/busybox";
/// Far more than anything here takes on a loaded machine.
const END_MAX: Duration = Duration::from_secs(30);
const MEMORY_LIMIT_BYTES: i64 = 64 << 20;
pub const POD: &str = "11111111-2222-3333-4444-555555555555";
/// Execs run in it.
pub const SLEEPER: &str = "sleeper";
pub const SLEEP: [&str; 2] = ["/bin/sleep", "1000000"];
pub const TRUE: [&str; 1] = ["/bin/true"];

/// Everything it made is gone after the drop.
pub struct Node {
    pub runtime: Runtime,
    events: mpsc::Receiver<Exited>,
    folder: tempfile::TempDir,
    /// The pod's.
    pub shim_pid: u32,
    /// The pod's.
    pub cgroup: String,
}

impl Node {
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("br-bench-").tempdir()?;
        make_rootfs(&folder.path().join("rootfs")).context("cannot make the root file system")?;
        let name = folder.path().file_name().context("a folder has a name")?.to_string_lossy().replace('.', "");
        let config =
            Config { executable: built("bramble-agent"), ..Config::new(folder.path(), format!("bramble-{name}")) };
        let runtime = Runtime::new(config).await?;
        let events = runtime.events().context("the first call gets the events")?;
        let mut node = Self { runtime, events, folder, shim_pid: 0, cgroup: String::new() };
        let made = node.runtime.create_sandbox(node.sandbox(POD)).await?;
        (node.shim_pid, node.cgroup) = (made.shim_pid, made.cgroup);
        node.launch(SLEEPER, &SLEEP).await?;
        Ok(node)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn sandbox(&self, uid: &str) -> SandboxSpec {
        SandboxSpec {
            uid: uid.into(),
            namespace: "default".into(),
            name: "web".into(),
            hostname: "web-0".into(),
            log_dir: self.folder().join("logs"),
            ..Default::default()
        }
    }

    /// The OCI configuration that the runtime wrote for the container that sleeps.
    pub fn config(&self) -> Result<Value> {
        for entry in fs::read_dir(self.folder().join("run"))?.flatten() {
            let path: PathBuf = entry.path().join("c").join(SLEEPER).join("config.json");
            if let Ok(bytes) = fs::read(path) {
                return Ok(serde_json::from_slice(&bytes)?);
            }
        }
        anyhow::bail!("the runtime has written no configuration")
    }

    async fn launch(&self, id: &str, args: &[&str]) -> Result<()> {
        let spec = ContainerSpec {
            id: id.into(),
            name: id.into(),
            rootfs: self.folder().join("rootfs"),
            args: args.iter().map(|word| (*word).to_owned()).collect(),
            log_path: self.folder().join(format!("logs/{id}/0.log")),
            seccomp: Seccomp::Unconfined,
            resources: Resources { memory_limit_bytes: Some(MEMORY_LIMIT_BYTES), ..Default::default() },
            ..Default::default()
        };
        self.runtime.create_container(POD, spec).await?;
        Ok(self.runtime.start(POD, id).await?)
    }

    /// From its creation to its removal.
    pub async fn run_to_end(&mut self, id: &str) -> Result<()> {
        self.launch(id, &TRUE).await?;
        let ended = tokio::time::timeout(END_MAX, self.events.recv()).await.context("the container does not end")?;
        let ended = ended.context("the runtime tells ends")?;
        ensure!(ended.container_id == id && ended.exit.exit_code == 0, "container {id}: {ended:?}");
        Ok(self.runtime.remove_container(POD, id).await?)
    }

    /// One process in the container that sleeps, to its end.
    pub async fn exec(&self) -> Result<()> {
        let spec = ExecSpec { args: TRUE.map(String::from).to_vec(), ..Default::default() };
        let code = self.runtime.exec(POD, SLEEPER, spec).await?.wait().await?;
        ensure!(code == 0, "an exec ended with {code}");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let runtime = self.runtime.clone();
        // Not in this thread, which may belong to a runtime of tasks.
        let removed = std::thread::spawn(move || {
            let tasks = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            anyhow::Ok(tasks.block_on(runtime.remove_all())?)
        });
        match removed.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("what the bench made stays behind: {error:#}"),
            Err(_) => eprintln!("what the bench made stays behind"),
        }
    }
}

fn make_rootfs(root: &Path) -> Result<()> {
    for dir in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox"))?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    for command in [SLEEP[0], TRUE[0]] {
        symlink("busybox", root.join(command.trim_start_matches('/')))?;
    }
    Ok(())
}
