//! The node's own copy of what it was told: in memory for pods that refer to it, on disk for a start without a server.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use control_wire::durable;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::Value;

const MODE_PRIVATE: u32 = 0o600;
const POD_RANGE: &str = "pod-range";

/// Resource, namespace and name.
pub type Key = (String, String, String);

/// Files `DIR/cache/RESOURCE/NAMESPACE/NAME.json`.
pub struct Cache {
    dir: PathBuf,
    objects: Mutex<HashMap<Key, Bytes>>,
}

impl Cache {
    /// Reads what is there; a file that cannot be read is passed over, since the server has it too.
    pub fn open(dir: PathBuf) -> Result<Self> {
        durable::private_folder(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut objects = HashMap::new();
        for resource in ["pods", "configmaps", "secrets", "serviceaccounts"] {
            let Ok(namespaces) = fs::read_dir(dir.join(resource)) else { continue };
            for namespace in namespaces.flatten() {
                let Ok(files) = fs::read_dir(namespace.path()) else { continue };
                for file in files.flatten() {
                    let (space, name) = (namespace.file_name(), file.file_name());
                    let (Some(space), Some(name)) = (space.to_str(), name.to_str()) else { continue };
                    let Some(name) = name.strip_suffix(".json") else { continue };
                    if let Ok(bytes) = fs::read(file.path()) {
                        objects.insert((resource.to_owned(), space.to_owned(), name.to_owned()), bytes.into());
                    }
                }
            }
        }
        Ok(Self { dir, objects: Mutex::new(objects) })
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<Key, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything but a pod's own status has changed; only then is it written.
    pub fn put(&self, key: &Key, json: &[u8]) -> Result<bool> {
        let kept = Bytes::from(essential(&key.0, json)?);
        if self.objects().insert(key.clone(), kept.clone()).as_ref() == Some(&kept) {
            return Ok(false);
        }
        let path = self.path(key)?;
        durable::private_folder(path.parent().expect("a file lies in its namespace's folder"))?;
        durable::replace(&path, &kept, MODE_PRIVATE)?;
        Ok(true)
    }

    pub fn remove(&self, key: &Key) -> Result<()> {
        self.objects().remove(key);
        match fs::remove_file(self.path(key)?) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn path(&self, (resource, namespace, name): &Key) -> Result<PathBuf> {
        // Names of Kubernetes hold none of these; what comes over a wire is looked at all the same.
        for part in [resource, namespace, name] {
            if part.is_empty() || part.starts_with('.') || part.contains(['/', '\0']) {
                anyhow::bail!("{part:?} is no name of an object");
            }
        }
        Ok(self.dir.join(resource).join(namespace).join(format!("{name}.json")))
    }

    pub fn keys(&self) -> Vec<Key> {
        self.objects().keys().cloned().collect()
    }

    pub fn pods(&self) -> Vec<Pod> {
        let objects = self.objects();
        let pods = objects.iter().filter(|((resource, ..), _)| resource == "pods");
        pods.filter_map(|(_, json)| serde_json::from_slice(json).ok()).collect()
    }

    fn get<T: serde::de::DeserializeOwned>(&self, resource: &str, namespace: &str, name: &str) -> Option<T> {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let json = self.objects().get(&key).cloned()?;
        serde_json::from_slice(&json).ok()
    }

    /// The node's pod range as the server last said it.
    pub fn pod_range(&self) -> Option<String> {
        fs::read_to_string(self.dir.join(POD_RANGE)).ok()
    }

    pub fn set_pod_range(&self, range: &str) -> Result<()> {
        if self.pod_range().as_deref() != Some(range) {
            durable::replace(&self.dir.join(POD_RANGE), range.as_bytes(), MODE_PRIVATE)?;
        }
        Ok(())
    }

    pub fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        self.get("configmaps", namespace, name)
    }

    pub fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        self.get("secrets", namespace, name)
    }
}

impl agent_pods::ports::Objects for Cache {
    fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        self.config_map(namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        self.secret(namespace, name)
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
