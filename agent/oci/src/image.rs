use serde::{Deserialize, Serialize};

/// An image that is complete on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    /// `NAME=value`
    #[serde(deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    /// `user[:group]`, names or numbers; empty: root.
    #[serde(deserialize_with = "null_is_empty")]
    pub user: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub working_dir: String,
    /// `8080/tcp`
    #[serde(deserialize_with = "keys")]
    pub exposed_ports: Vec<String>,
    /// A name or a number, such as `SIGQUIT`.
    pub stop_signal: Option<String>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Go writes a set as a map to empty objects.
fn keys<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<std::collections::BTreeMap<String, serde::de::IgnoredAny>>::deserialize(from)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}
