//! Static pods: manifests in a folder of the node, run whether or not there is a server. The API shows a mirror of each,
//! which the server makes of what we tell, under the pod's own uid: status, logs and exec find the pod by it.

mod manifest;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_pods::Fleet;
use agent_pods::ports::Reporter;
use anyhow::{Context, Result};
use control_api::view::core::Pod;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

use crate::cache::Key;
use crate::outbox::Outbox;
use manifest::StaticPod;

/// Files that are read of the folder, by name.
const FILES_MAX: usize = 110;
/// As large as an object may be.
const FILE_BYTES_MAX: u64 = 1536 << 10;

pub struct StaticPods {
    folder: PathBuf,
    node: String,
    /// By namespace and name.
    known: Mutex<BTreeMap<(String, String), StaticPod>>,
}

impl StaticPods {
    pub fn new(folder: PathBuf, node: &str) -> Self {
        Self { folder, node: node.to_owned(), known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, String), StaticPod>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the folder holds.
    pub fn pods(&self) -> Vec<Pod> {
        read_all(&self.folder, &self.node).into_values().map(|pod| pod.pod).collect()
    }

    /// Starts what the folder holds, and follows it for as long as the agent runs.
    pub async fn keep(&self, fleet: &Fleet, outbox: &Outbox) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let changes = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE;
        inotify.add_watch(&self.folder, changes)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd is the same open descriptor for all its life"
        )]
        let notices = AsyncFd::new(inotify.as_fd().try_clone_to_owned()?)?;
        loop {
            self.read(fleet, outbox).await;
            let mut ready = notices.readable().await?;
            while inotify.read_events().is_ok() {}
            ready.clear_ready();
        }
    }

    /// Makes the fleet run what the folder holds now.
    pub async fn read(&self, fleet: &Fleet, outbox: &Outbox) {
        let wanted = read_all(&self.folder, &self.node);
        let (gone, new) = {
            let mut known = self.known();
            let uids: HashSet<String> = wanted.values().map(|pod| pod.uid.clone()).collect();
            let gone: Vec<StaticPod> = known.values().filter(|pod| !uids.contains(&pod.uid)).cloned().collect();
            let old: HashSet<String> = known.values().map(|pod| pod.uid.clone()).collect();
            let new: Vec<StaticPod> = wanted.values().filter(|pod| !old.contains(&pod.uid)).cloned().collect();
            *known = wanted;
            (gone, new)
        };
        for pod in gone {
            tracing::info!(name = pod.name, "a static pod is no longer wanted");
            fleet.remove(&pod.namespace, &pod.name).await;
        }
        for pod in new {
            outbox.mirror(&pod.uid, pod.mirror.to_string().into_bytes());
            fleet.put(pod.pod).await;
        }
    }

    /// Tells of every mirror again: the server may have lost it, or never have heard of it.
    pub fn report(&self, outbox: &Outbox) {
        for pod in self.known().values() {
            outbox.mirror(&pod.uid, pod.mirror.to_string().into_bytes());
        }
    }

    /// Takes a pod from the server that is only a mirror; true where it was one. A mirror that is to be deleted, or
    /// whose pod is gone from the folder, goes at once.
    pub fn take_mirror(&self, pod: &Pod, outbox: &Outbox) -> bool {
        if !is_mirror(pod) {
            return false;
        }
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let meta = &pod.metadata;
        let key = (text(&meta.namespace), text(&meta.name));
        let ours = self.known().get(&key).is_some_and(|own| Some(&own.uid) == meta.uid.as_ref());
        if !ours || meta.deletion_timestamp.is_some() {
            outbox.pod_gone(&key.0, &key.1, &text(&meta.uid));
        }
        true
    }

    /// The server has no such pod any more; true where it was a mirror of ours, which then is made again.
    pub fn mirror_is_gone(&self, key: &Key, outbox: &Outbox) -> bool {
        let known = self.known();
        let Some(pod) = known.get(&(key.1.clone(), key.2.clone())) else { return false };
        outbox.mirror(&pod.uid, pod.mirror.to_string().into_bytes());
        true
    }
}

/// Whether nobody runs it: the node has its own copy.
pub fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(manifest::MIRROR))
}

fn read_all(folder: &Path, node: &str) -> BTreeMap<(String, String), StaticPod> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    if names.len() > FILES_MAX {
        tracing::warn!(folder = %folder.display(), "only the first {FILES_MAX} static pods are read");
        names.truncate(FILES_MAX);
    }
    let mut found = BTreeMap::new();
    for name in names {
        let read = read_one(&folder.join(&name)).and_then(|text| match text {
            Some(text) => manifest::parse(&text, &name, node).map(Some),
            None => Ok(None),
        });
        match read {
            Ok(Some(pod)) => {
                let key = (pod.namespace.clone(), pod.name.clone());
                match found.entry(key) {
                    Entry::Occupied(there) => {
                        tracing::error!(file = name, pod = there.key().1, "a static pod of this name is there already");
                    }
                    Entry::Vacant(free) => drop(free.insert(pod)),
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(file = name, error, "a static pod is refused"),
        }
    }
    found
}

/// `None` for what is no file.
fn read_one(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let words = |error: std::io::Error| error.to_string();
    if !fs::metadata(path).map_err(words)?.is_file() {
        return Ok(None);
    }
    let mut text = Vec::new();
    File::open(path).map_err(words)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(words)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {FILE_BYTES_MAX} bytes"));
    }
    Ok(Some(text))
}
