//! Measures what pods take of the node's disk, by walking through it.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_pods::machine::State;
use agent_pods::spec::log_dir;
use agent_pods::storage::{Storage, Taken};
use control_api::view::core::Pod;
use nix::time::ClockId;

use crate::daemon::Node;

/// What the pod takes now, and how long a core had to work to find it; what cannot be read counts as nothing.
pub async fn of(node: &Node, pod: &Pod, state: &State) -> (Storage, Duration) {
    let logs = log_dir(&node.config.layout.logs(), pod);
    let snapshots = node.images.snapshots();
    let mut containers: Vec<(String, [Option<PathBuf>; 2])> = Vec::new();
    for slot in &state.slots {
        let written = slot.container_id.as_deref().and_then(|id| snapshots.written(id).ok());
        containers.push((slot.name.clone(), [Some(logs.join(&slot.name)), written]));
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let volumes = node.volumes.on_disk(uid).unwrap_or_default();
    let sum = |folders: [Option<PathBuf>; 2]| -> Taken { folders.iter().flatten().map(|folder| walk(folder)).sum() };
    let measured = tokio::task::spawn_blocking(move || {
        let begun = core_time();
        let storage = Storage {
            containers: containers.into_iter().map(|(name, folders)| (name, sum(folders))).collect(),
            volumes: volumes.into_iter().map(|(name, folder)| (name, walk(&folder))).collect(),
        };
        (storage, core_time().saturating_sub(begun))
    });
    measured.await.unwrap_or_default()
}

/// What this thread has had of a core. Time itself would count what others did meanwhile.
fn core_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default()
}

/// A folder and all that is in it, but for what is mounted below; a file of two names counts once.
fn walk(root: &Path) -> Taken {
    let Ok(top) = fs::symlink_metadata(root) else { return Taken::default() };
    let mut taken = Taken { bytes: top.blocks() * 512, inodes: 1 };
    let (mut folders, mut linked) = (vec![root.to_owned()], HashSet::new());
    while let Some(folder) = folders.pop() {
        // A container that runs removes what is being counted.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(found) = entry.metadata() else { continue };
            let counted = found.is_file() && found.nlink() > 1 && !linked.insert(found.ino());
            if found.dev() != top.dev() || counted {
                continue;
            }
            taken.bytes += found.blocks() * 512;
            taken.inodes += 1;
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_two_names_counts_once_and_what_is_not_there_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, file) = (folder.path().join("inner"), folder.path().join("file"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, vec![1; 64 << 10]).unwrap();
        fs::hard_link(&file, inner.join("again")).unwrap();
        std::os::unix::fs::symlink("/", inner.join("elsewhere")).unwrap();
        let taken = walk(folder.path());
        assert_eq!(taken.inodes, 4);
        assert!((64 << 10..128 << 10).contains(&taken.bytes), "{taken:?}");
        assert_eq!(walk(&folder.path().join("nowhere")), Taken::default());
    }
}
