//! What stands behind a PersistentVolumeClaim: a path of this node.
//!
//! A `local-path` volume is a folder under the node's own data folder, made when its first pod starts, open to every
//! user as in other distributions, and removed when the volume is deleted.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use control_api::local_path;
use control_api::view::core::{HostPathVolumeSource, PersistentVolume, Pod};
use serde_json::{Value, json};

use crate::error::VolumeError;
use crate::host_path;
use crate::payload::Source;
use crate::volumes::checked;

/// The deepest folder whose files are given to a pod's group.
const DEPTH_MAX: usize = 128;
const MODE: u32 = 0o777;

/// A claim's volume on this node.
#[derive(Debug, Clone, PartialEq)]
pub enum Backing {
    /// A folder that is ours to make.
    Folder(PathBuf),
    /// A folder or device that somebody made for this.
    Local(PathBuf),
    HostPath(HostPathVolumeSource),
}

impl Backing {
    /// The path that is mounted.
    pub fn path(&self) -> Result<PathBuf, String> {
        match self {
            Self::Folder(path) | Self::Local(path) => Ok(path.clone()),
            Self::HostPath(wanted) => host_path::check(wanted),
        }
    }
}

/// Finds the volume of a pod's claim; says in words what is missing.
pub fn find(pod: &Pod, claim: &str, source: &dyn Source, root: &Path) -> Result<Backing, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let found = source.claim(namespace, claim).ok_or_else(|| format!("persistentvolumeclaim \"{claim}\" not found"))?;
    let name = found.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default();
    if name.is_empty() {
        return Err(format!("persistentvolumeclaim \"{claim}\" is not bound yet"));
    }
    let volume = source.persistent_volume(&name).ok_or_else(|| format!("persistentvolume \"{name}\" not found"))?;
    let owner = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()).and_then(|claim| claim.uid.clone());
    if owner.is_none() || owner != found.metadata.uid {
        return Err(format!("persistentvolume \"{name}\" belongs to another claim than \"{claim}\""));
    }
    backing(&volume, root)
}

fn backing(volume: &PersistentVolume, root: &Path) -> Result<Backing, String> {
    // As local_path reads it.
    let spec = volume.spec.clone().unwrap_or_default();
    let path = spec.host_path.as_ref().map(|wanted| &wanted.path);
    let raw = json!({"metadata": {"annotations": volume.metadata.annotations}, "spec": {"hostPath": {"path": path}}});
    if local_path::is_ours(&raw) {
        return folder(&raw, root).map(Backing::Folder);
    }
    if let Some(wanted) = spec.host_path {
        return Ok(Backing::HostPath(wanted));
    }
    if let Some(wanted) = spec.local {
        return Ok(Backing::Local(PathBuf::from(wanted.path)));
    }
    Err("volumes of this kind are not supported yet: use hostPath or local".to_owned())
}

fn folder(volume: &Value, root: &Path) -> Result<PathBuf, String> {
    let name = local_path::folder(volume).ok_or("its path is none of a local-path volume")?;
    Ok(root.join(checked(name)?))
}

/// Makes the volume ready for the pod. Idempotent.
pub fn prepare(backing: &Backing, pod: &Pod, group: Option<u32>) -> Result<(), String> {
    let words = |error: VolumeError| error.in_words();
    match backing {
        Backing::HostPath(wanted) => return host_path::check(wanted).map(drop),
        Backing::Folder(path) => make(path).map_err(words)?,
        Backing::Local(path) => {
            if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
                return Err(format!("local path {} must be absolute and hold no '..'", path.display()));
            }
            if !path.exists() {
                return Err(format!("path \"{}\" does not exist", path.display()));
            }
        }
    }
    let (Some(group), Ok(path)) = (group, backing.path()) else { return Ok(()) };
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let lazily = context.and_then(|context| context.fs_group_change_policy.as_deref()) == Some("OnRootMismatch");
    give(&path, group, lazily).map_err(words)
}

/// A folder that is there keeps its mode, which its users may have changed.
fn make(path: &Path) -> Result<(), VolumeError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(root) = path.parent() {
        fs::create_dir_all(root).map_err(VolumeError::io("make", root))?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o711)).map_err(VolumeError::io("close", root))?;
    }
    fs::create_dir(path).map_err(VolumeError::io("make", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(VolumeError::io("set the mode of", path))?;
    // A program that syncs what it writes can sync what lies in the volume, and not the volume's own name.
    path.ancestors().skip(1).take(2).try_for_each(|parent| {
        let synced = fs::File::open(parent).and_then(|open| open.sync_all());
        synced.map_err(VolumeError::io("sync", parent))
    })
}

/// Gives everything in the volume to the pod's group, unless `lazily` finds the root given already.
fn give(path: &Path, group: u32, lazily: bool) -> Result<(), VolumeError> {
    let data = fs::symlink_metadata(path).map_err(VolumeError::io("look at", path))?;
    if lazily && data.gid() == group && data.mode() & 0o2000 != 0 {
        return Ok(());
    }
    give_below(path, group, 0)
}

fn give_below(path: &Path, group: u32, depth: usize) -> Result<(), VolumeError> {
    let data = fs::symlink_metadata(path).map_err(VolumeError::io("look at", path))?;
    if data.gid() != group {
        lchown(path, None, Some(group)).map_err(VolumeError::io("give to the pod's group", path))?;
    }
    if data.file_type().is_symlink() {
        return Ok(());
    }
    let more = if data.is_dir() { 0o2770 } else { 0o660 };
    if data.mode() & more != more {
        let mode = fs::Permissions::from_mode(data.mode() & 0o7777 | more);
        fs::set_permissions(path, mode).map_err(VolumeError::io("set the mode of", path))?;
    }
    if !data.is_dir() || depth >= DEPTH_MAX {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(VolumeError::io("read", path))?.flatten() {
        give_below(&entry.path(), group, depth + 1)?;
    }
    Ok(())
}

pub(crate) fn remove_data(volume: &Value, root: &Path) -> Result<(), VolumeError> {
    let name = volume["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let path = folder(volume, root).map_err(|why| VolumeError::SetUp { volume: name, why })?;
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(VolumeError::io("remove", &path)(error)),
        _ => Ok(()),
    }
}
