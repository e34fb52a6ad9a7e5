//! Why a volume is not ready, worded as a pod's FailedMount event shows it.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {why}")]
    SetUp { volume: String, why: String },
    #[error("failed to prepare subPath for volumeMount \"{volume}\" of container \"{container}\": {why}")]
    SubPath { volume: String, container: String, why: String },
    #[error("container \"{container}\" mounts volume \"{volume}\", which the pod does not have")]
    Unknown { volume: String, container: String },
    #[error("cannot {what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl VolumeError {
    /// For `map_err`: what was tried on which path.
    pub fn io<E: Into<std::io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source: source.into() }
    }

    /// The message with its cause, for a text that has no other place for it.
    pub fn in_words(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            other => other.to_string(),
        }
    }
}
