use std::{io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} a netlink socket")]
    Socket {
        action: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot enter the network namespace {}", path.display())]
    Namespace {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Nothing of the batch holds.
    #[error("the kernel refuses to {message}")]
    Refused {
        message: String,
        #[source]
        source: io::Error,
    },
    #[error("the kernel's answer to {message} is cut or never ends")]
    Answer { message: String },
}

impl Error {
    /// Whether what the message named is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.raw_os_error() == Some(nix::libc::ENOENT))
    }
}
