//! What lies where below the data folder.

use std::path::{Path, PathBuf};

pub const DATA_DIR: &str = "/var/lib/bramble";
const LOG_ROOT: &str = "/var/log/pods";
const LINK_ROOT: &str = "/var/log/containers";

/// One node's data folder.
#[derive(Debug, Clone)]
pub struct Layout {
    pub root: PathBuf,
}

impl Layout {
    pub fn pid_file(&self) -> PathBuf {
        self.root.join("agent.pid")
    }

    pub fn socket(&self) -> PathBuf {
        self.root.join("run").join("agent.sock")
    }

    /// The node's key and identity.
    pub fn identity(&self) -> PathBuf {
        self.root.join("agent")
    }

    /// A join token left for this node, readable by root alone; removed once it has joined.
    pub fn join_file(&self) -> PathBuf {
        self.root.join("join")
    }

    /// What of a flashed card outlasts its power.
    pub fn card(&self) -> PathBuf {
        self.root.join("card")
    }

    pub fn cache(&self) -> PathBuf {
        self.identity().join("cache")
    }

    /// Data of volumes of class `local-path`, which outlives their pods.
    pub fn local_path(&self) -> PathBuf {
        self.root.join("local-path")
    }

    /// Manifests of static pods.
    pub fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    pub fn network(&self) -> PathBuf {
        self.root.join("network")
    }

    /// The usual place for the default data folder; agents that share a machine keep their logs apart.
    pub fn logs(&self) -> PathBuf {
        if self.root == Path::new(DATA_DIR) { LOG_ROOT.into() } else { self.root.join("logs") }
    }

    /// Links to the containers' logs, likewise.
    pub fn log_links(&self) -> PathBuf {
        if self.root == Path::new(DATA_DIR) { LINK_ROOT.into() } else { self.root.join("log-links") }
    }
}
