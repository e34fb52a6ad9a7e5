//! What survives the agent: one small file a pod, with the machine's state.
//!
//! A power cut takes the containers and with them what is on record of their way here: such a record may be lost, and its
//! pod starts anew. How a container of the pod ended nobody could find out again, and it may have been told already: from
//! then on the pod's records are synced.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
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

    /// A record that was torn counts as none: the pod then starts anew.
    pub fn load(&self, uid: &str) -> Option<State> {
        let bytes = fs::read(self.path(uid)).ok()?;
        let state = serde_json::from_slice(&bytes);
        if let Err(error) = &state {
            tracing::warn!(uid, %error, "a pod's record is damaged; the pod starts anew");
        }
        state.ok()
    }

    /// The pods that have a folder, with a record in it or without.
    pub fn uids(&self) -> BTreeSet<String> {
        let folders = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        folders.filter_map(|folder| folder.file_name().into_string().ok()).collect()
    }

    /// The containers that any pod's record names.
    pub fn container_ids(&self) -> BTreeSet<String> {
        let states = self.uids().into_iter().filter_map(|uid| self.load(&uid));
        states.flat_map(|state| state.container_ids().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    pub fn save(&self, uid: &str, state: &State) -> Result<(), RecordError> {
        let failed = |source| RecordError::Save { uid: uid.to_owned(), source };
        let bytes = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
        let durable = state.tells_an_end();
        fs::create_dir_all(self.pod_dir(uid)).map_err(failed)?;
        replace(&self.path(uid), &bytes, durable).map_err(failed)?;
        if durable { self.sync_names(uid).map_err(failed) } else { Ok(()) }
    }

    /// The record's name, and those of the folders that it lies in.
    fn sync_names(&self, uid: &str) -> io::Result<()> {
        let pod_dir = self.pod_dir(uid);
        let folders = [Some(pod_dir.as_path()), Some(self.dir.as_path()), self.dir.parent()];
        let named = folders.into_iter().flatten().filter(|folder| !folder.as_os_str().is_empty());
        named.map(File::open).try_for_each(|folder| folder?.sync_all())
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

/// Readers see the old content or the new, never a part; so does who comes after a power cut, if it is to be durable.
fn replace(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(&fresh)?;
    file.write_all(bytes)?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&fresh, path)
}
