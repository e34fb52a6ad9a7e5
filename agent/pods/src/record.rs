//! What survives the agent: one small file a pod, with the machine's state.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::machine::State;

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("cannot save state of pod {uid}")]
    Save {
        uid: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot remove state of pod {uid}")]
    Remove {
        uid: String,
        #[source]
        source: io::Error,
    },
}

/// Files `DIR/pods/UID/state.json`.
#[derive(Debug, Clone)]
pub struct Records {
    dir: PathBuf,
}

impl Records {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The pod's own folder, which volumes and /etc files share.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.dir.join(uid)
    }

    fn path(&self, uid: &str) -> PathBuf {
        self.pod_dir(uid).join("state.json")
    }

    /// An unreadable record counts as none: the pod then starts anew, which is always safe.
    pub fn load(&self, uid: &str) -> Option<State> {
        let bytes = fs::read(self.path(uid)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The containers that any pod's record names.
    pub fn container_ids(&self) -> BTreeSet<String> {
        let folders = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let uids = folders.filter_map(|folder| folder.file_name().into_string().ok());
        let states = uids.filter_map(|uid| self.load(&uid));
        states.flat_map(|state| state.container_ids().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    pub fn save(&self, uid: &str, state: &State) -> Result<(), RecordError> {
        let failed = |source| RecordError::Save { uid: uid.to_owned(), source };
        let bytes = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
        fs::create_dir_all(self.pod_dir(uid)).map_err(failed)?;
        replace(&self.path(uid), &bytes).map_err(failed)
    }

    /// Removes the pod's folder with all that is left in it.
    pub fn remove(&self, uid: &str) -> Result<(), RecordError> {
        match fs::remove_dir_all(self.pod_dir(uid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RecordError::Remove { uid: uid.to_owned(), source: error })
            }
            _ => Ok(()),
        }
    }
}

/// Readers see the old content or the new, never a part. Not synced: after a power cut no container is left to match.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes)?;
    fs::rename(&fresh, path)
}
