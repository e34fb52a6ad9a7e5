//! The volumes of all pods, under one folder:
//!
//! ```text
//! ROOT/UID/volumes/NAME            what is mounted into containers
//! ROOT/UID/subpaths/CONTAINER/N    parts of volumes, bound
//! ```

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use control_api::quantity::Quantity;
use control_api::view::core::{EmptyDirVolumeSource, Pod, Volume};
use serde_json::Value;

use crate::downward::Facts;
use crate::error::VolumeError;
use crate::payload::{self, Makings, Source};
use crate::{atomic, claim, host_path, mounts, sub_path};

/// Cheap to make; holds no state but its folder.
#[derive(Debug, Clone)]
pub struct Volumes {
    root: PathBuf,
    local: PathBuf,
}

impl Volumes {
    /// `local` holds the data of `local-path` volumes.
    pub fn new(root: PathBuf, local: PathBuf) -> Self {
        Self { root, local }
    }

    /// Makes every volume of the pod ready, or brings its files up to date. Idempotent. Gives the names of volumes
    /// whose token is not there yet: its file is empty.
    pub fn mount(&self, pod: &Pod, facts: &Facts, source: &dyn Source) -> Result<Vec<String>, VolumeError> {
        let spec = pod.spec.as_ref();
        let user = user(pod);
        let mut lacking = Vec::new();
        let group = spec.and_then(|spec| spec.security_context.as_ref()).and_then(|context| context.fs_group);
        let group = group.and_then(|group| u32::try_from(group).ok());
        for volume in spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten() {
            let name = &volume.name;
            let trouble = |why: String| VolumeError::SetUp { volume: name.clone(), why };
            let folder = self.folder(pod, name).map_err(trouble)?;
            let makings = Makings { pod, facts, source, folder: &folder, user, group };
            if self.mount_one(volume, &makings).map_err(trouble)? {
                lacking.push(name.clone());
            }
        }
        Ok(lacking)
    }

    /// Whether the volume shows a token that is not there yet.
    fn mount_one(&self, volume: &Volume, makings: &Makings<'_>) -> Result<bool, String> {
        if let Some(wanted) = &volume.host_path {
            return host_path::check(wanted).map(|_| false);
        }
        let words = |error: VolumeError| error.in_words();
        let (folder, group) = (makings.folder, makings.group);
        if let Some(wanted) = &volume.persistent_volume_claim {
            let found = claim::find(makings.pod, &wanted.claim_name, makings.source, &self.local)?;
            return claim::prepare(&found, makings.pod, group).map(|()| false);
        }
        if let Some(wanted) = &volume.empty_dir {
            return empty_dir(folder, wanted, group).map(|()| false).map_err(words);
        }
        // Made before the folder is: a missing object leaves nothing behind.
        let Some(mut payload) = payload::of(volume, makings)? else {
            return Err("volumes of this kind are not supported yet".to_owned());
        };
        make(folder, 0o755).map_err(words)?;
        if volume.config_map.is_none() {
            mounts::tmpfs(folder, 0).map_err(words)?;
        }
        if group.is_some() {
            // As the kubelet does: what the pod's group owns, it can read.
            payload.values_mut().for_each(|file| file.mode |= 0o440);
        }
        own(folder, group, 0o755).map_err(words)?;
        atomic::write(folder, &payload, group).map_err(words)?;
        Ok(payload::lacks_token(volume, &payload))
    }

    /// The host's path of a volume, or of `sub_path` in it, for the `index`th mount of a container.
    pub fn resolve(
        &self,
        pod: &Pod,
        container: &str,
        (index, sub_path): (usize, &str),
        source: &dyn Source,
    ) -> Result<PathBuf, VolumeError> {
        let spec = pod.spec.as_ref();
        let containers = spec.map(|spec| {
            let others = spec.init_containers.iter().chain(&spec.ephemeral_containers).flatten();
            spec.containers.iter().chain(others)
        });
        let wanted = containers
            .into_iter()
            .flatten()
            .find(|found| found.name == container)
            .and_then(|found| found.volume_mounts.as_ref()?.get(index));
        let name = wanted.map(|mount| mount.name.clone()).unwrap_or_default();
        let unknown = || VolumeError::Unknown { volume: name.clone(), container: container.to_owned() };
        let volume = spec
            .and_then(|spec| spec.volumes.as_ref()?.iter().find(|volume| volume.name == name))
            .ok_or_else(unknown)?;
        let trouble = |why: String| VolumeError::SetUp { volume: name.clone(), why };
        let path = match (&volume.host_path, &volume.persistent_volume_claim) {
            (Some(wanted), _) => host_path::check(wanted).map_err(trouble)?,
            (None, Some(wanted)) => claim::find(pod, &wanted.claim_name, source, &self.local)
                .and_then(|found| found.path())
                .map_err(trouble)?,
            (None, None) => self.folder(pod, &name).map_err(trouble)?,
        };
        if sub_path.is_empty() {
            return Ok(path);
        }
        let uid = self.pod_folder(pod.metadata.uid.as_deref().unwrap_or_default()).map_err(trouble)?;
        let target = uid.join("subpaths").join(container).join(index.to_string());
        let trouble = |why| VolumeError::SubPath { volume: name.clone(), container: container.to_owned(), why };
        sub_path::bind(&path, sub_path, &target).map_err(trouble)
    }

    /// Removes the data of a `local-path` volume. Idempotent.
    pub fn remove_data(&self, volume: &Value) -> Result<(), VolumeError> {
        claim::remove_data(volume, &self.local)
    }

    /// Unmounts and removes everything that `mount` and `resolve` made. Idempotent.
    pub fn unmount(&self, uid: &str) -> Result<(), VolumeError> {
        let trouble = |why| VolumeError::SetUp { volume: String::new(), why };
        let folder = self.pod_folder(uid).map_err(trouble)?;
        for part in ["subpaths", "volumes"] {
            let part = folder.join(part);
            mounts::take_away(&part)?;
            match fs::remove_dir_all(&part) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(VolumeError::io("remove", &part)(error));
                }
                _ => {}
            }
        }
        // Fails where somebody else keeps something of the pod there too, which is theirs to remove.
        let _ = fs::remove_dir(&folder);
        Ok(())
    }

    /// By name, the folders of those volumes of a pod that lie on the disk and end with it.
    pub fn on_disk(&self, uid: &str) -> Result<Vec<(String, PathBuf)>, VolumeError> {
        let trouble = |why| VolumeError::SetUp { volume: String::new(), why };
        let folder = self.pod_folder(uid).map_err(trouble)?.join("volumes");
        let device = |path: &Path| fs::symlink_metadata(path).map(|found| found.dev()).ok();
        let own = device(&folder);
        let volumes = fs::read_dir(&folder).into_iter().flatten().flatten();
        // What is only in memory is mounted there.
        let volumes = volumes.filter(|volume| device(&volume.path()) == own);
        Ok(volumes.map(|volume| (volume.file_name().to_string_lossy().into_owned(), volume.path())).collect())
    }

    fn folder(&self, pod: &Pod, name: &str) -> Result<PathBuf, String> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        Ok(self.pod_folder(uid)?.join("volumes").join(checked(name)?))
    }

    fn pod_folder(&self, uid: &str) -> Result<PathBuf, String> {
        Ok(self.root.join(checked(uid)?))
    }
}

/// The user that all containers are said to run as; nobody where one is left to its image.
fn user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut users = containers.map(|one| {
        let own = one.security_context.as_ref().and_then(|context| context.run_as_user);
        own.or(of_pod).and_then(|user| u32::try_from(user).ok())
    });
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
}

/// Names come from the server; as parts of paths they are believed only when they are plain.
pub(crate) fn checked(name: &str) -> Result<&str, String> {
    let plain = !name.is_empty() && name.len() < 256 && !name.starts_with('.') && !name.contains(['/', '\0']);
    if plain { Ok(name) } else { Err(format!("{name:?} cannot be a folder's name")) }
}

fn empty_dir(folder: &Path, wanted: &EmptyDirVolumeSource, group: Option<u32>) -> Result<(), VolumeError> {
    make(folder, 0o777)?;
    if wanted.medium.as_deref() == Some("Memory") {
        let limit = wanted.size_limit.as_ref().and_then(|limit| Quantity::parse(&limit.0).ok());
        let bytes = limit.and_then(|limit| u64::try_from(limit.milli() / 1000).ok()).unwrap_or(0);
        mounts::tmpfs(folder, bytes)?;
    }
    own(folder, group, 0o777)
}

fn make(folder: &Path, mode: u32) -> Result<(), VolumeError> {
    fs::create_dir_all(folder).map_err(VolumeError::io("make", folder))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).map_err(VolumeError::io("set the mode of", folder))
}

/// Gives the folder to the pod's fsGroup, whose files then belong to the group as well.
fn own(folder: &Path, group: Option<u32>, mode: u32) -> Result<(), VolumeError> {
    let Some(group) = group else { return Ok(()) };
    std::os::unix::fs::chown(folder, None, Some(group)).map_err(VolumeError::io("give to the pod's group", folder))?;
    let mode = mode | 0o2070;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).map_err(VolumeError::io("set the mode of", folder))
}
