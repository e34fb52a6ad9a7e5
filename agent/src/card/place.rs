//! Where a card's files lie.

use std::path::{Path, PathBuf};

/// All paths, below the machine's root or a folder that a test takes for it.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether this is the machine itself, whose name and clock may be set.
    pub fn is_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The FAT partition, which every computer can read.
    pub fn firmware(&self) -> PathBuf {
        self.at("boot/firmware")
    }

    pub fn settings(&self) -> PathBuf {
        self.firmware().join("bramble.toml")
    }

    pub fn error(&self) -> PathBuf {
        self.firmware().join("bramble-error.txt")
    }

    /// The data folder of server and agent.
    pub fn data(&self) -> PathBuf {
        self.at("var/lib/bramble")
    }

    /// The agent's key and identity.
    pub fn identity(&self) -> PathBuf {
        self.data().join("agent")
    }

    /// A token that the agent joins by.
    pub fn join_file(&self) -> PathBuf {
        self.data().join("join")
    }

    /// What of the card must outlast it being damaged.
    pub fn kept(&self) -> PathBuf {
        self.data().join("card")
    }

    /// What units and programs read; gone with the power.
    pub fn run(&self) -> PathBuf {
        self.at("run/bramble")
    }
}
