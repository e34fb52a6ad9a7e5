//! For which platforms a registry has an image; nothing is kept of it here.

use std::{sync::Arc, time::Duration};

use control_api::image::{Platform, Reference, question::PLATFORMS_MAX};
use tokio::time::timeout;

use super::Shared;
use crate::{
    credentials::Credentials,
    error::chain,
    manifest::{ConfigDocument, Manifest},
    registry::Repository,
};

/// An answer that takes longer is none.
const LOOKUP: Duration = Duration::from_secs(15);
/// Manifests that are looked at for one image: entries of an index mostly say themselves what they are for.
const MANIFESTS_MAX: usize = 16;

/// Why an image's platforms are not known.
#[derive(Debug, thiserror::Error)]
pub enum PlatformsError {
    /// A pull would be told the same, or the image does not say what it is for.
    #[error("{0}")]
    Unknowable(String),
    /// Another time there may be an answer.
    #[error("{0}")]
    Unreachable(String),
}

fn unknowable(error: impl std::error::Error) -> PlatformsError {
    PlatformsError::Unknowable(chain(&error))
}

pub(super) async fn platforms(
    shared: &Arc<Shared>,
    name: &str,
    credentials: &Credentials,
) -> Result<Vec<Platform>, PlatformsError> {
    let reference: Reference = name.parse().map_err(unknowable)?;
    let lookup = Lookup {
        repository: Repository::new(shared, &reference, credentials),
        bytes_max: shared.config.limits.manifest_bytes_max,
    };
    let late = |_| PlatformsError::Unreachable(format!("no answer within {} s", LOOKUP.as_secs()));
    let mut found = timeout(LOOKUP, lookup.run(reference.target())).await.map_err(late)??;
    found.sort();
    found.dedup();
    if found.is_empty() || found.len() > PLATFORMS_MAX {
        return Err(PlatformsError::Unknowable("the image does not say which platforms it is for".to_owned()));
    }
    Ok(found)
}

struct Lookup {
    repository: Repository,
    bytes_max: u64,
}

impl Lookup {
    /// The index's word where it has one, else that of the images it names.
    async fn run(&self, target: &str) -> Result<Vec<Platform>, PlatformsError> {
        let mut waiting = vec![target.to_owned()];
        let mut found = Vec::new();
        for _ in 0..MANIFESTS_MAX {
            let Some(target) = waiting.pop() else { return Ok(found) };
            match self.manifest(&target).await? {
                Manifest::Image { config, .. } => {
                    let bytes = self.repository.blob(&config.digest, self.bytes_max).await.map_err(asked)?;
                    let platform = ConfigDocument::parse(&bytes).map_err(unknowable)?.platform();
                    let silent = || PlatformsError::Unknowable("the image does not say its platform".to_owned());
                    found.push(platform.ok_or_else(silent)?);
                }
                Manifest::Index(entries) => {
                    for entry in entries {
                        match entry.platform {
                            // Build attestations.
                            Some(platform) if platform.architecture == "unknown" => {}
                            Some(platform) => found.push(platform.into()),
                            None => {
                                entry.check().map_err(unknowable)?;
                                waiting.push(entry.digest);
                            }
                        }
                    }
                }
            }
        }
        Err(PlatformsError::Unknowable(format!("more than {MANIFESTS_MAX} manifests have to be looked at")))
    }

    async fn manifest(&self, target: &str) -> Result<Manifest, PlatformsError> {
        let (bytes, media_type) = self.repository.manifest(target, self.bytes_max).await.map_err(asked)?;
        Manifest::parse(&bytes, &media_type).map_err(unknowable)
    }
}

fn asked(error: crate::registry::RegistryError) -> PlatformsError {
    let message = chain(&error);
    if error.is_passing() { PlatformsError::Unreachable(message) } else { PlatformsError::Unknowable(message) }
}
