//! Where things lie below the data folder, and how a file is replaced whole.
//!
//! ```text
//! DIR/run/<short>/            one sandbox; <short> is 16 hex digits of the pod's uid, since socket paths end at 108 bytes
//!     sandbox.json            the spec, written first: what exists can be removed after a crash
//!     shim.sock  shim.pid
//!     ns/{user,net,ipc,uts}   bind-mounted namespaces
//!     shm                     the pod's /dev/shm, a tmpfs
//!     c/<container>/          the OCI bundle
//!         spec.json  config.json  seccomp.bpf  stage.json  state.json  termination
//!         lc/<container>/     libcontainer's own state
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Folders of one sandbox.
#[derive(Clone, Debug)]
pub(crate) struct SandboxDir(pub PathBuf);

impl SandboxDir {
    pub fn new(data_dir: &Path, uid: &str) -> Self {
        // FNV-1a: the same uid must give the same name in every version, which the standard hashers do not promise.
        let hash = uid
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self(data_dir.join("run").join(format!("{hash:016x}")))
    }
    pub fn spec(&self) -> PathBuf {
        self.0.join("sandbox.json")
    }
    pub fn socket(&self) -> PathBuf {
        self.0.join("shim.sock")
    }
    pub fn pid(&self) -> PathBuf {
        self.0.join("shim.pid")
    }
    pub fn namespace(&self, kind: &str) -> PathBuf {
        self.0.join("ns").join(kind)
    }
    pub fn shm(&self) -> PathBuf {
        self.0.join("shm")
    }
    pub fn containers(&self) -> PathBuf {
        self.0.join("c")
    }
    pub fn container(&self, id: &str) -> ContainerDir {
        ContainerDir(self.containers().join(id))
    }
}

/// Files of one container.
#[derive(Clone, Debug)]
pub(crate) struct ContainerDir(pub PathBuf);

impl ContainerDir {
    pub fn spec(&self) -> PathBuf {
        self.0.join("spec.json")
    }
    pub fn config(&self) -> PathBuf {
        self.0.join("config.json")
    }
    pub fn seccomp(&self) -> PathBuf {
        self.0.join("seccomp.bpf")
    }
    /// Where its mounts are, for a container in a user namespace.
    pub fn stage(&self) -> PathBuf {
        self.0.join("stage.json")
    }
    pub fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }
    pub fn termination(&self) -> PathBuf {
        self.0.join("termination")
    }
    /// The folder that libcontainer keeps its state under.
    pub fn library_root(&self) -> PathBuf {
        self.0.join("lc")
    }
}

/// True for what may name a container: it becomes a folder's and a cgroup's name.
pub(crate) fn is_valid_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 64
        && !id.starts_with('.')
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Replaces a file whole: a reader, or a later run, sees the old or the new content.
pub(crate) fn save<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let draft = path.with_extension("draft");
    fs::File::create(&draft)?.write_all(&bytes)?;
    fs::rename(&draft, path)
}

pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_would_leave_their_folder_are_refused() {
        for id in ["", ".", "..", "a/b", "../x", "ä"] {
            assert!(!is_valid_id(id), "{id}");
        }
        assert!(is_valid_id("0a1b_c-d.e"));
    }
}
