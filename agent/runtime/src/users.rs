//! Which ids of the host a pod's user namespace has: a range of its own, unique on the node, kept in the sandbox's
//! record and free again once the record is gone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::layout::{SandboxDir, load};
use crate::runtime::Record;

/// Ids in a range: what Kubernetes promises a pod, 0 to 65535 inside.
pub(crate) const LENGTH: u32 = 65_536;
/// The ids below are the host's own.
pub(crate) const FIRST: u32 = 65_536;
/// Far more pods than a node runs.
const RANGES_MAX: u32 = 1024;

/// A pod's own user namespace, for who mounts something for its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNamespace {
    pub path: PathBuf,
    /// The host's id of the namespace's root.
    pub first_id: u32,
}

/// The range of the pod's that is on record, else the lowest free one. The caller lets nobody else choose until the
/// record is saved.
pub(crate) fn range(run: &Path, uid: &str) -> io::Result<u32> {
    let mut taken = BTreeSet::new();
    for entry in fs::read_dir(run)? {
        let path = SandboxDir(entry?.path()).spec();
        let record = match load::<Record>(&path) {
            Ok(record) => record,
            // Without its record it is nothing yet.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            // Whose range it holds nobody knows, so that none can be given out.
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        match record.first_id {
            Some(first) if record.spec.uid == uid => return Ok(first),
            Some(first) => drop(taken.insert(first)),
            None => {}
        }
    }
    lowest_free(&taken).ok_or_else(|| io::Error::other("all ranges of ids for user namespaces are taken"))
}

fn lowest_free(taken: &BTreeSet<u32>) -> Option<u32> {
    (0..RANGES_MAX).map(|index| FIRST + index * LENGTH).find(|first| !taken.contains(first))
}

/// The line that `uid_map` and `gid_map` take.
pub(crate) fn mapping(first_id: u32) -> String {
    format!("0 {first_id} {LENGTH}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_what_is_freed_is_given_out_again() {
        let mut taken = BTreeSet::new();
        for _ in 0..RANGES_MAX {
            let first = lowest_free(&taken).unwrap();
            assert!(first >= FIRST && taken.iter().all(|other| first.abs_diff(*other) >= LENGTH));
            taken.insert(first);
        }
        assert_eq!(lowest_free(&taken), None);
        taken.remove(&(FIRST + LENGTH));
        assert_eq!(lowest_free(&taken), Some(FIRST + LENGTH));
    }
}
