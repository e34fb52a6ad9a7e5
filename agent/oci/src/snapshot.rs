use std::{
    io,
    path::{Path, PathBuf},
};

use crate::image::Image;

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("cannot {action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0:?} is no container id")]
    Id(String),
    #[error("image {image} lacks its layer {layer}")]
    LayerMissing { image: String, layer: String },
}

/// Containers' root filesystems: an overlay of an image's layers and a folder of their own,
/// all under `DIR/containers/<id>/{rootfs,upper,work,lower}`.
#[derive(Clone)]
pub struct Snapshots {
    data_dir: PathBuf,
}

impl Snapshots {
    pub(crate) fn new(data_dir: PathBuf) -> Self {
        Self { data_dir }
    }

    /// Where a container's root is mounted.
    pub fn rootfs(&self, container_id: &str) -> PathBuf {
        self.data_dir.join("containers").join(container_id).join("rootfs")
    }

    /// Mounts a container's root; again after a reboot; nothing to do where it is mounted. What the container wrote is kept.
    pub async fn mount(&self, container_id: &str, _image: &Image) -> Result<PathBuf, SnapshotError> {
        Err(SnapshotError::Id(container_id.into()))
    }

    /// Unmounts a container's root and keeps what it wrote; Ok where it is not mounted.
    pub async fn unmount(&self, _container_id: &str) -> Result<(), SnapshotError> {
        Ok(())
    }

    /// Unmounts and removes `upper`, `work`, `lower` and `rootfs`, and the container's folder where nothing else is in it.
    pub async fn remove(&self, _container_id: &str) -> Result<(), SnapshotError> {
        Ok(())
    }

    /// Ids of the containers that have a snapshot.
    pub fn list(&self) -> Result<Vec<String>, SnapshotError> {
        Ok(Vec::new())
    }

    /// Bytes and inodes that a container wrote: its ephemeral storage.
    pub async fn usage(&self, _container_id: &str) -> Result<(u64, u64), SnapshotError> {
        Ok((0, 0))
    }

    #[allow(dead_code)]
    fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}
