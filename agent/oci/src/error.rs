use std::{io, path::PathBuf};

use control_api::image::ReferenceError;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot use the certificate authorities of {path}")]
    Authorities {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Which of the kubelet's reasons a failed pull has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullReason {
    InvalidImageName,
    ErrImagePull,
}

/// Why a pull failed; the sources follow the message, as in `failed to pull and unpack image "x": ...`.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("failed to apply default image tag {name:?}")]
    InvalidName {
        name: String,
        #[source]
        source: ReferenceError,
    },
    #[error("failed to pull and unpack image {name:?}")]
    Pull {
        name: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl PullError {
    pub fn reason(&self) -> PullReason {
        match self {
            Self::InvalidName { .. } => PullReason::InvalidImageName,
            Self::Pull { .. } => PullReason::ErrImagePull,
        }
    }

    /// The whole message for an Event or a container's waiting state: the error and its sources, joined by colons.
    pub fn message(&self) -> String {
        chain(self)
    }
}

/// An error and its sources as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[derive(Debug, thiserror::Error)]
#[error("cannot import an image from {from}")]
pub struct ImportError {
    pub from: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not what was written there")]
    Corrupt { path: PathBuf },
    #[error("images are being pulled or imported")]
    Busy,
}
