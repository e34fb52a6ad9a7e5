//! The node's own copy of what it was told: in memory for pods that refer to it, on disk for a start without a server.
//!
//! What a power cut leaves of it:
//!
//! | | |
//! |---|---|
//! | the node's own pods, and what those name | as they were acted upon: they are synced before |
//! | a pod that is gone | gone: else it would run again on a node that comes back alone |
//! | what pods named, once it is gone | gone or not; the next whole sync with a server removes it |
//! | what every node is told | any of its states since, or nothing |
//!
//! The last changes with every pod of the cluster: it is written later, many changes at once and without a sync, to spare
//! the card. A file that is torn is removed with a warning; the server tells all of it again.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_pods::node::memory_room;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use control_api::view::View;
use control_api::view::core::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service};
use control_wire::{NodeNetwork, durable};
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::Notify;

const MODE_PRIVATE: u32 = 0o600;
const NETWORK: &str = "network";
/// What every node is told; the rest is this node's own.
const SHARED: [&str; 7] =
    ["services", "endpointslices", "networkpolicies", "namespaces", "nodes", "peers", "persistentvolumes"];
const OWN: [&str; 5] = ["pods", "configmaps", "secrets", "serviceaccounts", "persistentvolumeclaims"];
/// Stands for the namespace of an object without one; no namespace is called so.
const NO_NAMESPACE: &str = "_";
/// A change of a shared object is on disk after this; after a power cut sooner than that the older one is.
const WRITE_AFTER: Duration = Duration::from_secs(30);

/// What is kept in all, and no more than an eighth of the machine's memory.
const BYTES_MAX: usize = 64 << 20;
/// What an object costs beside its bytes.
const OVERHEAD_BYTES: usize = 256;
/// The longest name of Kubernetes.
const NAME_BYTES_MAX: usize = 253;

/// Resource, namespace and name.
pub type Key = (String, String, String);

/// Files `DIR/cache/RESOURCE/NAMESPACE/NAME.json`.
pub struct Cache {
    dir: PathBuf,
    bytes_max: usize,
    objects: Mutex<Objects>,
    /// Objects that are newer, or gone, than their files say: shared ones, and others that found no room.
    unwritten: Mutex<HashSet<Key>>,
    changed: Notify,
}

#[derive(Default)]
struct Objects {
    all: HashMap<Key, Bytes>,
    /// Of all of them, as `size` counts.
    bytes: usize,
}

impl Objects {
    /// Whether this is something new.
    fn insert(&mut self, key: Key, kept: Bytes) -> bool {
        self.bytes += size(&key, kept.len());
        let (named, old) = (size(&key, 0), self.all.insert(key, kept.clone()));
        self.bytes -= old.as_ref().map_or(0, |old| named + old.len());
        old.as_ref() != Some(&kept)
    }

    fn remove(&mut self, key: &Key) {
        let old = self.all.remove(key);
        self.bytes -= old.map_or(0, |old| size(key, old.len()));
    }
}

fn size((resource, namespace, name): &Key, bytes: usize) -> usize {
    resource.len() + namespace.len() + name.len() + bytes + OVERHEAD_BYTES
}

impl Cache {
    /// Reads what is there; a file that cannot be read or was torn is passed over, since the server has it too.
    pub fn open(dir: PathBuf) -> Result<Self> {
        durable::private_folder(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut objects = Objects::default();
        for resource in OWN.into_iter().chain(SHARED) {
            let Ok(namespaces) = fs::read_dir(dir.join(resource)) else { continue };
            for namespace in namespaces.flatten() {
                let Ok(files) = fs::read_dir(namespace.path()) else { continue };
                for file in files.flatten() {
                    let (space, name) = (namespace.file_name(), file.file_name());
                    let (Some(space), Some(name)) = (space.to_str(), name.to_str()) else { continue };
                    let Some(name) = name.strip_suffix(".json") else {
                        // What was being written when the power or the agent went.
                        drop(remove(&file.path()));
                        continue;
                    };
                    let space = if space == NO_NAMESPACE { "" } else { space };
                    if let Some(bytes) = read(&file.path()) {
                        objects.insert((resource.to_owned(), space.to_owned(), name.to_owned()), bytes.into());
                    }
                }
            }
        }
        let share = usize::try_from(memory_room().whole / 8).unwrap_or(usize::MAX);
        let bytes_max = BYTES_MAX.min(share);
        Ok(Self { dir, bytes_max, objects: Mutex::new(objects), unwritten: Mutex::default(), changed: Notify::new() })
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether an object of so many bytes can be kept beside all others.
    pub fn has_room(&self, key: &Key, bytes: usize) -> bool {
        let objects = self.objects();
        let old = objects.all.get(key).map_or(0, |old| size(key, old.len()));
        objects.bytes - old + size(key, bytes) <= self.bytes_max
    }

    /// Whether it could be kept if there were only `others`.
    pub fn would_hold(&self, others: &HashSet<Key>, key: &Key, bytes: usize) -> bool {
        let objects = self.objects();
        let others = others.iter().filter(|other| *other != key);
        let sizes = others.filter_map(|other| Some(size(other, objects.all.get(other)?.len())));
        sizes.sum::<usize>() + size(key, bytes) <= self.bytes_max
    }

    /// Whether anything but a pod's own status has changed; only then is it written.
    pub fn put(&self, key: &Key, json: &[u8]) -> Result<bool> {
        let path = self.path(key)?;
        let kept = Bytes::from(essential(&key.0, json)?);
        if !self.objects().insert(key.clone(), kept.clone()) {
            return Ok(false);
        }
        if is_shared(&key.0) {
            self.write_later(key);
            return Ok(true);
        }
        let write = || {
            durable::private_folder(path.parent().expect("a file lies in its namespace's folder"))?;
            durable::replace(&path, &kept, MODE_PRIVATE)
        };
        // On a full disk, say: it is acted upon all the same, and written when there is room.
        write().inspect_err(|_| self.write_later(key))?;
        Ok(true)
    }

    pub fn remove(&self, key: &Key) -> Result<()> {
        self.objects().remove(key);
        if is_shared(&key.0) {
            self.write_later(key);
            return Ok(());
        }
        let path = self.path(key)?;
        let removed = remove(&path).and_then(|()| match path.parent() {
            Some(folder) if key.0 == "pods" && folder.is_dir() => Ok(durable::sync_folder(&path)?),
            _ => Ok(()),
        });
        removed.inspect_err(|_| self.write_later(key))
    }

    fn unwritten(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_later(&self, key: &Key) {
        let first = {
            let mut unwritten = self.unwritten();
            unwritten.insert(key.clone());
            unwritten.len() == 1
        };
        if first {
            self.changed.notify_one();
        }
    }

    /// Writes shared objects a while after they changed, for as long as the agent runs; asleep otherwise.
    pub async fn write_behind(&self) {
        loop {
            self.changed.notified().await;
            tokio::time::sleep(WRITE_AFTER).await;
            self.write_shared();
        }
    }

    /// Writes what waits to be written.
    pub fn write_shared(&self) {
        let keys = std::mem::take(&mut *self.unwritten());
        for key in keys {
            let kept = self.objects().all.get(&key).cloned();
            let written = self.path(&key).and_then(|path| match kept {
                None => remove(&path),
                Some(bytes) => {
                    durable::private_folder(path.parent().expect("a file lies in its namespace's folder"))?;
                    let replace = if is_shared(&key.0) { durable::replace_lazily } else { durable::replace };
                    Ok(replace(&path, &bytes, MODE_PRIVATE)?)
                }
            });
            if let Err(error) = written {
                tracing::warn!(?key, error = format!("{error:#}"), "an object is not kept on disk");
                self.write_later(&key);
            }
        }
    }

    fn path(&self, key: &Key) -> Result<PathBuf> {
        ensure!(is_name(key), "{key:?} is no name of an object");
        let (resource, namespace, name) = key;
        let namespace = if namespace.is_empty() { NO_NAMESPACE } else { namespace };
        Ok(self.dir.join(resource).join(namespace).join(format!("{name}.json")))
    }

    pub fn keys(&self) -> Vec<Key> {
        self.objects().all.keys().cloned().collect()
    }

    pub fn pods(&self) -> Vec<Pod> {
        let objects = self.objects();
        let pods = objects.all.iter().filter(|((resource, ..), _)| resource == "pods");
        pods.filter_map(|(_, json)| View::parse(json).ok()).collect()
    }

    /// What every node is told, as it was told last.
    pub fn shared(&self) -> Vec<(Key, Bytes)> {
        let objects = self.objects();
        objects.all.iter().filter(|(key, _)| is_shared(&key.0)).map(|(key, json)| (key.clone(), json.clone())).collect()
    }

    fn get<T: View>(&self, resource: &str, namespace: &str, name: &str) -> Option<T> {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let json = self.objects().all.get(&key).cloned()?;
        T::parse(&json).ok()
    }

    /// The cluster's network as a server last told it.
    pub fn network(&self) -> Option<NodeNetwork> {
        postcard::from_bytes(&fs::read(self.dir.join(NETWORK)).ok()?).ok()
    }

    pub fn set_network(&self, network: &NodeNetwork) -> Result<()> {
        if self.network().as_ref() != Some(network) {
            durable::replace(&self.dir.join(NETWORK), &postcard::to_stdvec(network)?, MODE_PRIVATE)?;
        }
        Ok(())
    }

    pub fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        self.get("configmaps", namespace, name)
    }

    pub fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        self.get("secrets", namespace, name)
    }

    pub fn services(&self, namespace: &str) -> Vec<Service> {
        let objects = self.objects();
        let services =
            objects.all.iter().filter(|((resource, space, _), _)| resource == "services" && space == namespace);
        services.filter_map(|(_, json)| View::parse(json).ok()).collect()
    }

    pub fn claim(&self, namespace: &str, name: &str) -> Option<PersistentVolumeClaim> {
        self.get("persistentvolumeclaims", namespace, name)
    }

    pub fn persistent_volume(&self, name: &str) -> Option<PersistentVolume> {
        self.get("persistentvolumes", "", name)
    }
}

impl agent_pods::ports::Objects for Cache {
    fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        self.config_map(namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        self.secret(namespace, name)
    }

    fn services(&self, namespace: &str) -> Vec<Service> {
        self.services(namespace)
    }
}

/// Names of Kubernetes hold none of these; what comes over a wire is looked at all the same, since it becomes a path.
pub fn is_name((resource, namespace, name): &Key) -> bool {
    let plain = |part: &str| part.len() <= NAME_BYTES_MAX && !part.starts_with('.') && !part.contains(['/', '\0']);
    [resource, namespace, name].into_iter().all(|part| plain(part)) && !resource.is_empty() && !name.is_empty()
}

/// Kinds that are kept; a newer server may tell of more.
pub fn is_known(resource: &str) -> bool {
    is_shared(resource) || OWN.contains(&resource)
}

pub fn is_shared(resource: &str) -> bool {
    SHARED.contains(&resource)
}

/// An object that is whole: torn, it lacks its end or holds zeros, and neither is JSON.
fn read(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(&bytes) {
        tracing::warn!(path = %path.display(), %error, "an object on disk is damaged; the server tells it again");
        drop(remove(path));
        return None;
    }
    Some(bytes)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Without what changes often and starts nothing: revision, managedFields, and a pod's status but for its end.
fn essential(resource: &str, json: &[u8]) -> Result<Vec<u8>> {
    let mut object: Value = serde_json::from_slice(json).context("an object of the server is no JSON")?;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("resourceVersion");
        metadata.shift_remove("managedFields");
    }
    if resource == "pods"
        && let Some(fields) = object.as_object_mut()
    {
        let phase = fields.get("status").and_then(|status| status.get("phase")).cloned();
        fields.shift_remove("status");
        if let Some(phase) = phase.filter(|phase| phase == "Succeeded" || phase == "Failed") {
            fields.insert("status".to_owned(), serde_json::json!({"phase": phase}));
        }
    }
    Ok(serde_json::to_vec(&object)?)
}

#[cfg(test)]
mod power;
