//! The places inside the data folder.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// `DIR`, private to its owner.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Makes the folder if it is not there.
    pub fn create(path: &Path) -> Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make the data folder {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The administrator's kubeconfig, 0600.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// Keys, certificates and tokens of the cluster.
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    /// The agent's key, identity and cache.
    pub fn agent(&self) -> PathBuf {
        self.0.join("agent")
    }

    /// A join token for this machine's own agent, which looks there and removes it.
    pub fn join_file(&self) -> PathBuf {
        self.0.join("join")
    }

    /// How this machine's clock was set since it was switched on.
    pub fn clock_file(&self) -> PathBuf {
        self.0.join("clock.json")
    }

    /// The store's own folder.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// `server.pid`, `agent.pid`, `up.pid`.
    pub fn pidfile(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pid"))
    }
}
