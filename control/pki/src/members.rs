//! The keys of nodes: let in, known by a Node object, or shut out. One file each, so that a change writes little.
//!
//! ```text
//! (none) --token or approval--> Admitted --first greeting--> Known --its Node was deleted--> Removed
//! ```
//!
//! `Removed` is never left: a machine that is to come back makes a new key (`bramble-agent reset`). A key that is known
//! and whose Node is gone was removed, even where a crash came before that was written down.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use control_wire::durable::{self, FileError, MODE_PRIVATE};
use control_wire::trust;
use serde::{Deserialize, Serialize};

const FOLDER: &str = "members";
/// Keys that are kept; beyond it the oldest removed ones make room. A key that was forgotten is as one never let in.
const MEMBERS_MAX: usize = 16_384;
/// A removed key is forgotten so long after its last certificate ended.
const REMOVED_KEPT_SECONDS: u64 = 90 * 86_400;

#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    #[error("cannot keep the keys of nodes")]
    File(#[from] FileError),
    #[error("there are {MEMBERS_MAX} nodes already")]
    TooMany,
}

/// What the cluster thinks of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// A certificate was signed for it; it has not greeted yet.
    Admitted,
    /// It has a Node object, or had one.
    Known,
    /// Its Node was deleted.
    Removed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    node: String,
    standing: Standing,
    /// When its last certificate ends, in seconds since 1970.
    ends: u64,
}

/// By SHA-256 of the public key.
#[derive(Debug)]
pub struct Members {
    folder: PathBuf,
    records: Mutex<HashMap<[u8; 32], Record>>,
}

impl Members {
    pub fn open(dir: &Path) -> Result<Self, MembersError> {
        let folder = dir.join(FOLDER);
        durable::private_folder(&folder)?;
        let mut records = HashMap::new();
        let now = trust::now_seconds();
        for name in durable::names(&folder)? {
            let Some(key) = name.strip_suffix(".json").and_then(trust::parse_hash) else { continue };
            let path = folder.join(&name);
            let Some(bytes) = durable::read(&path)? else { continue };
            let record: Record = serde_json::from_slice(&bytes).map_err(|error| FileError::damaged(&path, error))?;
            if record.standing == Standing::Removed && record.ends.saturating_add(REMOVED_KEPT_SECONDS) < now {
                durable::remove(&path)?;
                continue;
            }
            records.insert(key, record);
        }
        Ok(Self { folder, records: Mutex::new(records) })
    }

    /// `None` for a key that was never let in, or so long ago that it is forgotten.
    pub fn standing(&self, key: &[u8; 32]) -> Option<Standing> {
        self.records().get(key).map(|record| record.standing)
    }

    /// The node that a key was let in as.
    pub fn node(&self, key: &[u8; 32]) -> Option<String> {
        self.records().get(key).map(|record| record.node.clone())
    }

    /// A certificate that ends at `ends` is about to be given to `key`: on disk before this returns. A key that is
    /// `node`'s already stays what it is.
    pub fn admit(&self, key: [u8; 32], node: &str, ends: u64) -> Result<(), MembersError> {
        let mut records = self.records();
        let record = match records.get(&key) {
            Some(known) if known.node == node => Record { ends, ..known.clone() },
            _ => Record { node: node.to_owned(), standing: Standing::Admitted, ends },
        };
        if !records.contains_key(&key) && records.len() >= MEMBERS_MAX {
            let removed = records.iter().filter(|(_, record)| record.standing == Standing::Removed);
            let oldest = removed.min_by_key(|(_, record)| record.ends).map(|(key, _)| *key);
            let oldest = oldest.ok_or(MembersError::TooMany)?;
            durable::remove(&self.path(&oldest))?;
            records.remove(&oldest);
        }
        self.save(&mut records, key, record)
    }

    /// The key's Node is there. Writes at the first time only.
    pub fn know(&self, key: [u8; 32], node: &str) -> Result<(), MembersError> {
        self.set(key, node, Standing::Known)
    }

    /// The key's Node was deleted. Writes at the first time only.
    pub fn remove(&self, key: [u8; 32], node: &str) -> Result<(), MembersError> {
        self.set(key, node, Standing::Removed)
    }

    fn set(&self, key: [u8; 32], node: &str, standing: Standing) -> Result<(), MembersError> {
        let mut records = self.records();
        match records.get(&key) {
            Some(known) if known.standing == standing || known.standing == Standing::Removed => return Ok(()),
            // It was let in under another name since.
            Some(known) if known.node != node => return Ok(()),
            _ => {}
        }
        // Of a key without a record nothing is known but that its certificate may be of the longest kind.
        let ends = records.get(&key).map_or(u64::MAX, |record| record.ends);
        self.save(&mut records, key, Record { node: node.to_owned(), standing, ends })
    }

    fn save(&self, records: &mut HashMap<[u8; 32], Record>, key: [u8; 32], record: Record) -> Result<(), MembersError> {
        let path = self.path(&key);
        let bytes = serde_json::to_vec(&record).map_err(|error| FileError::damaged(&path, error))?;
        durable::replace(&path, &bytes, MODE_PRIVATE)?;
        records.insert(key, record);
        Ok(())
    }

    fn path(&self, key: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("{}.json", trust::hex(key)))
    }

    fn records(&self) -> MutexGuard<'_, HashMap<[u8; 32], Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_stays_removed_over_a_start_and_another_admission() {
        let folder = tempfile::tempdir().expect("a folder");
        let members = Members::open(folder.path()).expect("opens");
        let ends = trust::now_seconds() + 1000;
        members.admit([1; 32], "pi", ends).expect("admits");
        members.know([1; 32], "pi").expect("knows");
        members.remove([1; 32], "another").expect("is no change");
        assert_eq!(members.standing(&[1; 32]), Some(Standing::Known));
        members.remove([1; 32], "pi").expect("removes");
        let again = Members::open(folder.path()).expect("opens");
        again.know([1; 32], "pi").expect("is no change");
        assert_eq!(again.standing(&[1; 32]), Some(Standing::Removed));
        assert_eq!(again.standing(&[2; 32]), None);
    }
}
