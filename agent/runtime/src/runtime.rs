//! The agent's door to sandboxes and containers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::error::RuntimeError;
use crate::spec::{ContainerSpec, ExecSpec, SandboxSpec};
use crate::status::{Exited, Sandbox, SandboxStatus, Stats};

type Result<T> = std::result::Result<T, RuntimeError>;

/// Where the runtime keeps its things.
#[derive(Clone, Debug)]
pub struct Config {
    /// State lies in `data_dir/run`.
    pub data_dir: PathBuf,
    /// `bramble-<8 hex of the node's key>`: several agents share a machine, each below its own parent.
    pub cgroup_parent: String,
}

/// Cheap to clone; all clones are the same runtime.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
}

/// A process started by `Runtime::exec`. Dropping it kills the process.
pub struct ExecHandle {
    /// Present when asked for. With a tty it is the terminal; dropping it does not hang the terminal up.
    pub stdin: Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>,
    /// With a tty this is the terminal, and `stderr` is `None`.
    pub stdout: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    pub stderr: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    pub(crate) _pipe: Option<pipe::Sender>,
}

impl ExecHandle {
    /// Sets the terminal's size; nothing without a tty.
    pub fn resize(&self, _columns: u16, _rows: u16) -> Result<()> {
        Err(RuntimeError::NotYet)
    }
    /// Waits for the end of the process: its exit status, or 128 + the signal.
    pub async fn wait(&mut self) -> Result<i32> {
        Err(RuntimeError::NotYet)
    }
}

impl Runtime {
    /// Opens the state below `config.data_dir`. Call `adopt` next.
    pub async fn new(config: Config) -> Result<Self> {
        Ok(Self { inner: Arc::new(Inner { config }) })
    }
    /// The stream of ends. The first call gets it; later ones get `None`.
    pub fn events(&self) -> Option<mpsc::Receiver<Exited>> {
        None
    }
    /// Finds the sandboxes of an earlier run and follows them again. Ends that are in the answer are not told as events.
    pub async fn adopt(&self) -> Result<Vec<SandboxStatus>> {
        let _ = &self.inner.config;
        Err(RuntimeError::NotYet)
    }
    /// Every sandbox with its containers and their states.
    pub async fn list(&self) -> Result<Vec<SandboxStatus>> {
        Err(RuntimeError::NotYet)
    }
    /// Makes namespaces, cgroup and shim, or what is missing of them.
    pub async fn create_sandbox(&self, _spec: SandboxSpec) -> Result<Sandbox> {
        Err(RuntimeError::NotYet)
    }
    /// Makes the container's process, which waits for `start`; gives its pid. Only one container of an id can exist.
    pub async fn create_container(&self, _uid: &str, _spec: ContainerSpec) -> Result<u32> {
        Err(RuntimeError::NotYet)
    }
    pub async fn start(&self, _uid: &str, _container: &str) -> Result<()> {
        Err(RuntimeError::NotYet)
    }
    /// Sends a signal (its number) to the container's first process. Fine when it has ended already.
    pub async fn signal(&self, _uid: &str, _container: &str, _signal: i32) -> Result<()> {
        Err(RuntimeError::NotYet)
    }
    /// Signal, then SIGKILL after the grace; returns when the container has ended. The end is told as an event too.
    pub async fn stop(&self, _uid: &str, _container: &str, _signal: i32, _grace: Duration) -> Result<()> {
        Err(RuntimeError::NotYet)
    }
    /// Kills what is left of the container and removes its cgroup and state; not its root filesystem and log.
    pub async fn remove_container(&self, _uid: &str, _container: &str) -> Result<()> {
        Err(RuntimeError::NotYet)
    }
    pub async fn exec(&self, _uid: &str, _container: &str, _spec: ExecSpec) -> Result<ExecHandle> {
        Err(RuntimeError::NotYet)
    }
    pub async fn stats(&self, _uid: &str, _container: &str) -> Result<Stats> {
        Err(RuntimeError::NotYet)
    }
    pub async fn sandbox_stats(&self, _uid: &str) -> Result<Stats> {
        Err(RuntimeError::NotYet)
    }
    /// Kills all, unmounts, and removes cgroups, namespaces, sockets and state; collects errors and goes on. Idempotent.
    pub async fn remove_sandbox(&self, _uid: &str) -> Result<()> {
        Err(RuntimeError::NotYet)
    }
    /// `remove_sandbox` for every sandbox found on disk, and the parent cgroups.
    pub async fn remove_all(&self) -> Result<()> {
        Err(RuntimeError::NotYet)
    }
}
