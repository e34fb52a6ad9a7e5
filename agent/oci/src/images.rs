use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use control_api::image::{Platform, Reference, reference::is_sha256_hex};

use crate::{
    credentials::Credentials,
    error::{ImportError, OpenError, PullError, StoreError},
    image::Image,
    registry::Registries,
    snapshot::Snapshots,
    store::Store,
};

mod import;
mod platforms;
mod pull;

pub use platforms::PlatformsError;

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
    /// How long a registry may take to begin an answer.
    pub headers_wait: Duration,
    /// How long it may be silent in the midst of one.
    pub body_stall: Duration,
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
            headers_wait: Duration::from_secs(60),
            body_stall: Duration::from_secs(30),
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
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) registries: Registries,
    in_flight: pull::InFlight,
}

impl Images {
    /// Opens the store, and removes what a crash left half done.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let store = Store::open(config.data_dir.clone())?;
        let registries = Registries::new(&config.registries, &config.limits)?;
        Ok(Self { shared: Arc::new(Shared { config, store, registries, in_flight: pull::InFlight::default() }) })
    }

    /// Brings an image here by its registry; what is here already is not downloaded again.
    pub async fn pull(
        &self,
        name: &str,
        credentials: &Credentials,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Image, PullError> {
        let reference: Reference =
            name.parse().map_err(|source| PullError::InvalidName { name: name.to_owned(), source })?;
        pull::pull(&self.shared, &reference, credentials, Arc::new(progress))
            .await
            .map_err(|source| PullError::Pull { name: reference.to_string(), source: source.into() })
    }

    /// For which platforms the registry has the image; nothing is downloaded but manifests.
    pub async fn platforms(&self, name: &str, credentials: &Credentials) -> Result<Vec<Platform>, PlatformsError> {
        platforms::platforms(&self.shared, name, credentials).await
    }

    /// The image of this name, where it is complete here. Short forms, `name@digest` and ids do too.
    pub fn get(&self, name: &str) -> Result<Option<Image>, StoreError> {
        let store = &self.shared.store;
        if let Some(hex) = name.strip_prefix("sha256:").or(is_sha256_hex(name).then_some(name)) {
            let id = format!("sha256:{hex}");
            return Ok(store.list()?.into_iter().find(|image| image.id == id || image.digest == id));
        }
        let Ok(reference) = name.parse::<Reference>() else { return Ok(None) };
        if let Some(image) = store.load(&reference.to_string())? {
            return Ok(Some(image));
        }
        let Some(digest) = &reference.digest else { return Ok(None) };
        let repo_digest = format!("{}@{digest}", reference.name());
        Ok(store.list()?.into_iter().find(|image| image.repo_digest.as_ref() == Some(&repo_digest)))
    }

    /// Takes in an OCI layout or a `docker save` archive, plain or compressed, and answers with the names in it.
    pub async fn import(&self, archive: &Path) -> Result<Vec<String>, ImportError> {
        let (shared, path) = (self.shared.clone(), archive.to_owned());
        let done = blocking(move || import::import(&shared, &path)).await;
        done.map_err(|source| ImportError { from: archive.display().to_string(), source: source.into() })
    }

    /// The same from a stream, such as standard input.
    pub async fn import_stream(&self, from: impl Read + Send + 'static) -> Result<Vec<String>, ImportError> {
        let shared = self.shared.clone();
        let done = blocking(move || import::import_stream(&shared, from)).await;
        done.map_err(|source| ImportError { from: "a stream".to_owned(), source: source.into() })
    }

    /// All complete images, by name.
    pub fn list(&self) -> Result<Vec<Image>, StoreError> {
        self.shared.store.list()
    }

    /// Forgets a name; its layers go with the next prune. False where there was none.
    pub async fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let Some(image) = self.get(name)? else { return Ok(false) };
        let shared = self.shared.clone();
        blocking(move || shared.store.forget(&image.name)).await
    }

    /// Removes the images whose name and id are not in use, and the layers that no image has.
    /// Layers below a container's root stay in any case.
    pub async fn prune(&self, in_use: &BTreeSet<String>) -> Result<Pruned, StoreError> {
        let (shared, in_use) = (self.shared.clone(), in_use.clone());
        blocking(move || prune(&shared, |image| in_use.contains(&image.name) || in_use.contains(&image.id))).await
    }

    /// Removes only layers that no image and no container's root has.
    pub async fn collect(&self) -> Result<Pruned, StoreError> {
        let shared = self.shared.clone();
        blocking(move || prune(&shared, |_| true)).await
    }

    pub fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.shared.config.data_dir.clone())
    }
}

fn prune(shared: &Shared, keep: impl Fn(&Image) -> bool) -> Result<Pruned, StoreError> {
    let _removing = shared.store.removing()?;
    let mut pruned = Pruned::default();
    let mut layers = Snapshots::new(shared.config.data_dir.clone()).layers()?;
    for image in shared.store.list()? {
        if keep(&image) {
            layers.extend(image.layers);
        } else {
            shared.store.forget(&image.name)?;
            pruned.names.push(image.name);
        }
    }
    (pruned.layers, pruned.freed_bytes) = shared.store.remove_layers(|chain_id| layers.contains(chain_id))?;
    Ok(pruned)
}

/// Runs what waits for the disk away from the threads that serve everything else.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
