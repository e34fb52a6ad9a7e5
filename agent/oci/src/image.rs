use serde::{Deserialize, Serialize};

/// An image that is complete on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The full name that was asked for, such as `docker.io/library/busybox:1.36`.
    pub name: String,
    /// Digest of what the name points at in its registry (an index or a manifest), `sha256:…`.
    pub digest: String,
    /// Digest of the image's configuration, `sha256:…`: the image's id, which a container's status has as imageID where it
    /// comes from no registry.
    pub id: String,
    /// `name@digest` for a container's status.
    pub repo_digest: Option<String>,
    /// Bytes on disk, unpacked.
    pub size_bytes: u64,
    pub config: ImageConfig,
    /// Chain ids of the layers, the lowest first; [`crate::Snapshots`] mounts them.
    pub layers: Vec<String>,
}

/// The part of an image's configuration that a container starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    /// `user[:group]`, names or numbers; empty: root.
    pub user: String,
    pub working_dir: String,
    /// `8080/tcp`
    pub exposed_ports: Vec<String>,
    /// A name or a number, such as `SIGQUIT`.
    pub stop_signal: Option<String>,
}
