//! A part of a volume, found without leaving the volume however its links are laid.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};

use crate::error::VolumeError;
use crate::mounts;

/// The deepest subPath followed.
const DEPTH_MAX: usize = 64;

/// Binds `part` of the folder `volume` on `target` and gives `target`. Folders that are missing are made.
pub fn bind(volume: &Path, part: &str, target: &Path) -> Result<PathBuf, String> {
    let found = open(volume, Path::new(part)).map_err(|error| format!("{part:?}: {error}"))?;
    let is_folder = File::from(found.try_clone().map_err(|error| error.to_string())?)
        .metadata()
        .map_err(|error| error.to_string())?
        .is_dir();
    let words = |error: VolumeError| error.in_words();
    if mounts::is_mounted(target).map_err(words)? {
        return Ok(target.to_owned());
    }
    make_target(target, is_folder).map_err(|error| error.to_string())?;
    // Through the descriptor: what was checked is what is bound.
    mounts::bind(Path::new(&format!("/proc/self/fd/{}", found.as_raw_fd())), target).map_err(words)?;
    Ok(target.to_owned())
}

/// A file of the volume, if it is one and not longer than `bytes_max`. Whoever laid it cannot make this read another
/// file of the host.
pub fn read(volume: &Path, part: &Path, bytes_max: u64) -> Option<Vec<u8>> {
    let root = File::open(volume).ok()?;
    let found = File::from(beneath(&root, part).ok()?);
    let data = found.metadata().ok()?;
    if !data.is_file() || data.len() > bytes_max {
        return None;
    }
    fs::read(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()
}

fn make_target(target: &Path, is_folder: bool) -> std::io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if is_folder { fs::create_dir_all(target) } else { File::create(target).map(|_| ()) }
}

fn open(volume: &Path, part: &Path) -> Result<OwnedFd, String> {
    let parts: Vec<&std::ffi::OsStr> = part
        .components()
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err("a subPath must be relative and hold no '..'".to_owned()),
        })
        .collect::<Result<_, _>>()?;
    if parts.len() > DEPTH_MAX {
        return Err(format!("a subPath may be {DEPTH_MAX} folders deep"));
    }
    let root = File::open(volume).map_err(|error| error.to_string())?;
    let mut at: OwnedFd = root.try_clone().map_err(|error| error.to_string())?.into();
    let mut walked = PathBuf::new();
    for (index, name) in parts.iter().enumerate() {
        walked.push(name);
        at = match beneath(&root, &walked) {
            Ok(next) => next,
            Err(Errno::ENOENT) => {
                mkdirat(&at, *name, Mode::from_bits_truncate(0o750)).map_err(|error| error.to_string())?;
                beneath(&root, &walked).map_err(|error| error.to_string())?
            }
            Err(Errno::ELOOP | Errno::EXDEV) => return Err("it leads out of the volume".to_owned()),
            Err(error) => return Err(format!("part {}: {error}", index + 1)),
        };
    }
    Ok(at)
}

fn beneath(root: &impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_out_of_the_volume_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        std::os::unix::fs::symlink("inside", volume.join("in")).unwrap();
        fs::create_dir(volume.join("inside")).unwrap();
        assert!(open(&volume, Path::new("out/passwd")).unwrap_err().contains("out of the volume"));
        assert!(open(&volume, Path::new("../volume")).is_err());
        assert!(open(&volume, Path::new("/etc")).is_err());
        assert!(open(&volume, Path::new("in")).is_ok());
    }

    #[test]
    fn a_file_is_read_back_only_from_within() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "host").unwrap();
        let volume = folder.path().join("volume");
        fs::create_dir_all(volume.join("..1")).unwrap();
        std::os::unix::fs::symlink("..1", volume.join("..data")).unwrap();
        fs::write(volume.join("..1/token"), "old").unwrap();
        assert_eq!(read(&volume, Path::new("..data/token"), 100), Some(b"old".to_vec()));
        assert_eq!(read(&volume, Path::new("..data/token"), 2), None);
        std::os::unix::fs::symlink("../../secret", volume.join("..1/out")).unwrap();
        assert_eq!(read(&volume, Path::new("..data/out"), 100), None);
    }

    #[test]
    fn missing_folders_are_made() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), Path::new("a/b/c")).unwrap();
        assert!(folder.path().join("a/b/c").is_dir());
    }
}
