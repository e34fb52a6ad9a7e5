use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{MetadataExt, chown, symlink},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use crate::{error::StoreError, image::Image};

/// Mounts stacked on one root that are taken off at most; honest is one.
const STACKED_MAX: usize = 16;
const OURS: [&str; 5] = ["rootfs", "mapped", "upper", "work", "lower"];

/// Mounts a layer's folder, as its first argument, at its second.
pub type MountLayer = Box<dyn Fn(&Path, &Path) -> io::Result<()> + Send>;

/// What a container's root needs when its users are not the host's.
pub struct OwnIds {
    /// The host's id of the container's root.
    pub first_id: u32,
    /// Shows a layer, read-only, at a second place with the container's ids.
    pub mount_layer: MountLayer,
}

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

/// Containers' root filesystems: an overlay of an image's layers and a folder of their own, all under
/// `DIR/containers/<id>/{rootfs,mapped,upper,work,lower}`.
///
/// `lower` holds one short symlink a layer. The mount is made from inside the container's folder and names only
/// those, so that its options stay within the kernel's one page however many layers there are. For a container with
/// ids of its own each layer is mounted at `mapped` until the overlay has it.
#[derive(Clone, Debug)]
pub struct Snapshots {
    data_dir: PathBuf,
}

impl Snapshots {
    pub(crate) fn new(data_dir: PathBuf) -> Self {
        Self { data_dir }
    }

    fn containers(&self) -> PathBuf {
        self.data_dir.join("containers")
    }

    fn folder(&self, container_id: &str) -> Result<PathBuf, SnapshotError> {
        let fits = !container_id.is_empty()
            && container_id.len() <= 128
            && !container_id.starts_with('.')
            && container_id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if fits { Ok(self.containers().join(container_id)) } else { Err(SnapshotError::Id(container_id.into())) }
    }

    /// Where a container's root is mounted.
    pub fn rootfs(&self, container_id: &str) -> PathBuf {
        self.containers().join(container_id).join("rootfs")
    }

    /// Mounts a container's root; again after a reboot; nothing to do where it is mounted. What the container wrote is
    /// kept.
    pub async fn mount(
        &self,
        container_id: &str,
        image: &Image,
        ids: Option<OwnIds>,
    ) -> Result<PathBuf, SnapshotError> {
        let folder = self.folder(container_id)?;
        let (data_dir, image) = (self.data_dir.clone(), image.clone());
        on_thread(move || mount_root(&data_dir, &folder, &image, ids.as_ref())).await?;
        Ok(self.rootfs(container_id))
    }

    /// Unmounts a container's root and keeps what it wrote; Ok where it is not mounted.
    pub async fn unmount(&self, container_id: &str) -> Result<(), SnapshotError> {
        let folder = self.folder(container_id)?;
        on_thread(move || unmount_root(&folder)).await
    }

    /// Unmounts and removes the root and what the container wrote, and the container's folder where nothing else
    /// is in it.
    pub async fn remove(&self, container_id: &str) -> Result<(), SnapshotError> {
        let folder = self.folder(container_id)?;
        on_thread(move || {
            unmount_root(&folder)?;
            for part in OURS {
                let path = folder.join(part);
                match fs::remove_dir_all(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_at("remove", &path)(error)),
                    _ => {}
                }
            }
            // Others may keep files of the container here; then the folder is theirs to remove.
            let _ = fs::remove_dir(&folder);
            Ok(())
        })
        .await
    }

    /// Ids of the containers that have a snapshot.
    pub fn list(&self) -> Result<Vec<String>, SnapshotError> {
        let folder = self.containers();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_at("list", &folder)(error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io_at("list", &folder))?;
            // One that was cut off in its making lacks the last of them, in its removal perhaps all.
            let mut within = fs::read_dir(entry.path()).into_iter().flatten();
            if within.next().is_none() || OURS.iter().any(|part| entry.path().join(part).is_dir()) {
                ids.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(ids)
    }

    /// Where all lies that a container wrote beside its volumes.
    pub fn written(&self, container_id: &str) -> Result<PathBuf, SnapshotError> {
        Ok(self.folder(container_id)?.join("upper"))
    }

    /// Chain ids of the layers below any container's root.
    pub(crate) fn layers(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut layers = BTreeSet::new();
        for id in self.list().map_err(StoreError::from)? {
            let lower = self.containers().join(id).join("lower");
            let Ok(entries) = fs::read_dir(&lower) else { continue };
            for entry in entries.flatten() {
                let Ok(target) = fs::read_link(entry.path()) else { continue };
                let hex = target.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
                layers.extend(hex.map(|hex| format!("sha256:{hex}")));
            }
        }
        Ok(layers)
    }
}

impl From<SnapshotError> for StoreError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Io { action, path, source } => Self::Io { action, path, source },
            SnapshotError::Id(id) => Self::Corrupt { path: id.into() },
            SnapshotError::LayerMissing { layer, .. } => Self::Corrupt { path: layer.into() },
        }
    }
}

fn mount_root(data_dir: &Path, folder: &Path, image: &Image, ids: Option<&OwnIds>) -> Result<(), SnapshotError> {
    for part in OURS {
        let path = folder.join(part);
        fs::create_dir_all(&path).map_err(io_at("create", &path))?;
    }
    if is_mounted(folder)? {
        return Ok(());
    }
    let lower = folder.join("lower");
    let mut names = Vec::new();
    // The first of an overlay's lower folders is the uppermost.
    for (index, layer) in image.layers.iter().rev().enumerate() {
        let hex = layer.trim_start_matches("sha256:");
        if !data_dir.join("layers").join(hex).join("fs").is_dir() {
            return Err(SnapshotError::LayerMissing { image: image.name.clone(), layer: layer.clone() });
        }
        link_layer(&lower.join(index.to_string()), &Path::new("../../../layers").join(hex).join("fs"))?;
        names.push(format!("lower/{index}"));
    }
    if names.is_empty() {
        // An image from scratch may have no layer, and an overlay needs one.
        let none = lower.join("none");
        fs::create_dir_all(&none).map_err(io_at("create", &none))?;
        names.push("lower/none".into());
    }
    let Some(ids) = ids else { return mount_overlay(folder, &names) };
    let mounted = map_layers(folder, &mut names, ids).and_then(|()| mount_overlay(folder, &names));
    // The overlay holds them by itself.
    mounted.and(unmount_layers(folder))
}

/// Has the names be those of layers with the container's ids, and gives the container's root what it writes.
fn map_layers(folder: &Path, names: &mut [String], ids: &OwnIds) -> Result<(), SnapshotError> {
    let upper = folder.join("upper");
    chown(&upper, Some(ids.first_id), Some(ids.first_id)).map_err(io_at("give to the container's root", &upper))?;
    unmount_layers(folder)?;
    for (index, name) in names.iter_mut().enumerate() {
        let mapped = format!("mapped/{index}");
        let path = folder.join(&mapped);
        fs::create_dir_all(&path).map_err(io_at("create", &path))?;
        let shown = fs::canonicalize(folder.join(&*name)).and_then(|layer| (ids.mount_layer)(&layer, &path));
        shown.map_err(io_at("mount a layer with a user namespace's ids on", &path))?;
        *name = mapped;
    }
    Ok(())
}

/// What a crash left there is unmounted as well: a layer must not be taken for the container's own folder.
fn unmount_layers(folder: &Path) -> Result<(), SnapshotError> {
    let mapped = folder.join("mapped");
    for entry in fs::read_dir(&mapped).into_iter().flatten() {
        let path = entry.map_err(io_at("list", &mapped))?.path();
        take_off(&path)?;
    }
    Ok(())
}

fn mount_overlay(folder: &Path, names: &[String]) -> Result<(), SnapshotError> {
    let rootfs = folder.join("rootfs");
    let options = format!("lowerdir={},upperdir=upper,workdir=work", names.join(":"));
    // This thread alone gets the folder as its working directory, and ends with this mount.
    let mounted = unshare(CloneFlags::CLONE_FS)
        .and_then(|()| nix::unistd::chdir(folder))
        .and_then(|()| mount(Some("overlay"), "rootfs", Some("overlay"), MsFlags::empty(), Some(options.as_str())));
    let action = match mounted {
        // The kernel has looked for the module by then.
        Err(Errno::ENODEV) => {
            "mount an overlay, of which the kernel knows nothing (what does `modprobe overlay` say?), on"
        }
        _ => "mount an overlay on",
    };
    mounted.map_err(|errno| io_at(action, &rootfs)(errno.into()))
}

fn link_layer(link: &Path, target: &Path) -> Result<(), SnapshotError> {
    if fs::read_link(link).is_ok_and(|now| now == target) {
        return Ok(());
    }
    let _ = fs::remove_file(link);
    symlink(target, link).map_err(io_at("create", link))
}

fn unmount_root(folder: &Path) -> Result<(), SnapshotError> {
    take_off(&folder.join("rootfs"))?;
    unmount_layers(folder)
}

fn take_off(path: &Path) -> Result<(), SnapshotError> {
    for _ in 0..STACKED_MAX {
        match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // Not a mount point, or not there at all.
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(io_at("unmount", path)(errno.into())),
        }
    }
    Ok(())
}

/// A mounted root is on another device than the folder that it is in.
fn is_mounted(folder: &Path) -> Result<bool, SnapshotError> {
    let device = |path: &Path| fs::symlink_metadata(path).map(|meta| meta.dev()).map_err(io_at("look at", path));
    Ok(device(folder)? != device(&folder.join("rootfs"))?)
}

/// Mounting changes its thread's working directory for good, so each call has a thread of its own.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    let (done, result) = tokio::sync::oneshot::channel();
    let spawned = std::thread::Builder::new().name("snapshot".into()).spawn(move || done.send(work()));
    spawned.map_err(io_at("start a thread for", Path::new("containers")))?;
    result.await.map_err(|_| io_at("work on", Path::new("containers"))(io::Error::other("the thread ended early")))?
}

fn io_at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError + use<> {
    let path = path.to_owned();
    move |source| SnapshotError::Io { action, path, source }
}
