use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use control_api::image::Reference;
use tokio::{sync::OwnedMutexGuard, task::JoinHandle};

use super::{Progress, Shared, blocking};
use crate::{
    credentials::Credentials,
    error::StoreError,
    image::Image,
    manifest::{ConfigDocument, Descriptor, Manifest, ManifestError, choose},
    registry::{RegistryError, Repository},
    store::{InstallError, Layer, Temporary, chain, io_at, sha256},
};

const INDEX_DEPTH_MAX: usize = 3;

type Report = Arc<dyn Fn(Progress) + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("failed to resolve reference {name:?}")]
    Resolve {
        name: String,
        #[source]
        source: RegistryError,
    },
    #[error("failed to copy")]
    Copy(#[source] RegistryError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("indexes are nested too deeply")]
    Nesting,
}

/// Who is bringing a layer at the moment, so that two pulls bring it once.
#[derive(Default)]
pub(super) struct InFlight(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl InFlight {
    async fn claim(&self, chain_id: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, lock| lock.strong_count() > 0);
            match all.get(chain_id).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(tokio::sync::Mutex::new(()));
                    all.insert(chain_id.to_owned(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }
}

pub(super) async fn pull(
    shared: &Arc<Shared>,
    reference: &Reference,
    credentials: &Credentials,
    report: Report,
) -> Result<Image, Error> {
    let locker = shared.clone();
    let _adding = blocking(move || locker.store.adding()).await?;
    let repository = Arc::new(Repository::new(shared, reference, credentials));
    let found = resolve(shared, reference, &repository).await?;
    report(Progress::Resolved { digest: found.digest.clone(), layers: found.layers.len() });
    let repo_digest = format!("{}@{}", reference.name(), found.digest);
    if let Some(image) = here_already(shared, reference, &repo_digest)? {
        return Ok(image);
    }
    let limits = &shared.config.limits;
    let config = repository.blob(&found.config.digest, limits.manifest_bytes_max).await.map_err(Error::Copy)?;
    let document = ConfigDocument::parse(&config)?;
    let diff_ids = document.diff_ids(found.layers.len(), limits.layers_max, &shared.config.platform)?;
    let layers = Arc::new(chain(&diff_ids));
    bring(shared, &repository, &layers, &found.layers, &report).await?;
    let chain_ids: Vec<String> = layers.iter().map(|layer| layer.chain_id.clone()).collect();
    let image = Image {
        name: reference.to_string(),
        digest: found.digest,
        id: found.config.digest,
        repo_digest: Some(repo_digest),
        size_bytes: chain_ids.iter().map(|layer| shared.store.layer_bytes(layer)).sum(),
        config: document.image_config(),
        layers: chain_ids,
    };
    save(shared, image).await
}

struct Found {
    /// Of what the name points at.
    digest: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

async fn resolve(shared: &Shared, reference: &Reference, repository: &Repository) -> Result<Found, Error> {
    let bytes_max = shared.config.limits.manifest_bytes_max;
    let (bytes, media_type) = repository
        .manifest(reference.target(), bytes_max)
        .await
        .map_err(|source| Error::Resolve { name: reference.to_string(), source })?;
    let digest = sha256(&bytes);
    let mut manifest = Manifest::parse(&bytes, &media_type)?;
    for _ in 0..INDEX_DEPTH_MAX {
        match manifest {
            Manifest::Image { config, layers } => return Ok(Found { digest, config, layers }),
            Manifest::Index(entries) => {
                let best = choose(&entries, &shared.config.platform)?;
                let (bytes, media_type) = repository.manifest(&best.digest, bytes_max).await.map_err(Error::Copy)?;
                manifest = Manifest::parse(&bytes, &media_type)?;
            }
        }
    }
    Err(Error::Nesting)
}

/// The same content may be here, under this or another name.
fn here_already(shared: &Arc<Shared>, reference: &Reference, repo_digest: &str) -> Result<Option<Image>, Error> {
    let known = shared.store.list()?.into_iter().find(|image| image.repo_digest.as_deref() == Some(repo_digest));
    let Some(image) = known else { return Ok(None) };
    let image = Image { name: reference.to_string(), ..image };
    shared.store.save(&image)?;
    Ok(Some(image))
}

async fn save(shared: &Arc<Shared>, image: Image) -> Result<Image, Error> {
    let shared = shared.clone();
    blocking(move || shared.store.save(&image).map(|()| image)).await.map_err(Error::Store)
}

/// A download that stops with its pull.
struct Download(JoinHandle<Result<Claimed, Error>>);

impl Drop for Download {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A layer that is ours to unpack; without a file it came here meanwhile.
struct Claimed {
    file: Option<Temporary>,
    _claim: OwnedMutexGuard<()>,
}

/// Downloads side by side and unpacks in order, since a layer may need the owners of folders below it.
///
/// Claims are held until their layer is unpacked. That cannot lock two pulls up: who has a layer in common
/// has all below it in common too, and each unpacks from the lowest.
async fn bring(
    shared: &Arc<Shared>,
    repository: &Arc<Repository>,
    layers: &Arc<Vec<Layer>>,
    descriptors: &[Descriptor],
    report: &Report,
) -> Result<(), Error> {
    let downloads: Vec<Option<Download>> = layers
        .iter()
        .zip(descriptors)
        .map(|(layer, descriptor)| {
            if shared.store.has_layer(&layer.chain_id) {
                return None;
            }
            let task = download(
                shared.clone(),
                repository.clone(),
                layer.chain_id.clone(),
                descriptor.clone(),
                report.clone(),
            );
            Some(Download(tokio::spawn(task)))
        })
        .collect();
    for (index, download) in downloads.into_iter().enumerate() {
        let Some(mut download) = download else { continue };
        let claimed = match (&mut download.0).await {
            Ok(claimed) => claimed?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if let Some(file) = &claimed.file {
            let content = File::open(file.path()).map_err(io_at("open", file.path()))?;
            let (shared, layers) = (shared.clone(), layers.clone());
            blocking(move || shared.store.install(&layers, index, content, &shared.config.limits)).await?;
        }
        report(Progress::Unpacked { layer: index });
    }
    Ok(())
}

async fn download(
    shared: Arc<Shared>,
    repository: Arc<Repository>,
    chain_id: String,
    descriptor: Descriptor,
    report: Report,
) -> Result<Claimed, Error> {
    let claim = shared.in_flight.claim(&chain_id).await;
    if shared.store.has_layer(&chain_id) {
        return Ok(Claimed { file: None, _claim: claim });
    }
    let file = shared.store.temporary();
    let of_bytes = descriptor.size;
    let progress = |bytes| report(Progress::Downloaded { bytes, of_bytes });
    repository
        .download(&descriptor, file.path(), shared.config.limits.layer_bytes_max, progress)
        .await
        .map_err(Error::Copy)?;
    Ok(Claimed { file: Some(file), _claim: claim })
}
