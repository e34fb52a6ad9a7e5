//! Files that change all at once, laid out as the kubelet does it, which programs that watch them rely on:
//!
//! ```text
//! volume/..17958..._3/color      the content
//! volume/..data -> ..17958..._3  replaced by one rename
//! volume/color -> ..data/color
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::VolumeError;
use crate::payload::{File, Payload};

/// The link to the files that count.
pub const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `volume` hold exactly `payload`; without a difference nothing is touched. Whether something changed.
pub fn write(volume: &Path, payload: &Payload, group: Option<u32>) -> Result<bool, VolumeError> {
    let current = fs::read_link(volume.join(DATA)).ok().map(|link| volume.join(link));
    if current.as_ref().is_some_and(|current| holds(current, payload)) {
        return Ok(false);
    }
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let fresh = volume.join(format!("..{stamp}"));
    lay(&fresh, payload, group).map_err(VolumeError::io("write", &fresh))?;
    let link = volume.join(DATA_NEW);
    let name = fresh.file_name().expect("the path was joined with a name");
    let swap = || {
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link)?;
        }
        symlink(name, &link)?;
        fs::rename(&link, volume.join(DATA))
    };
    swap().map_err(VolumeError::io("replace the files of", volume))?;
    expose(volume, payload).map_err(VolumeError::io("link the files of", volume))?;
    remove_old(volume, &fresh).map_err(VolumeError::io("remove old files of", volume))?;
    Ok(true)
}

fn holds(current: &Path, payload: &Payload) -> bool {
    let mut found = 0;
    let same = payload.iter().all(|(path, file)| {
        found += 1;
        let path = current.join(path);
        let mode = path.metadata().map(|data| data.permissions().mode() & 0o7777);
        mode.is_ok_and(|mode| mode & 0o777 == file.mode & 0o777)
            && fs::read(&path).is_ok_and(|text| text == file.content)
    });
    same && count(current).is_ok_and(|all| all == found)
}

fn count(folder: &Path) -> io::Result<usize> {
    let mut all = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        all += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(all)
}

fn lay(folder: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for (path, file) in payload {
        let target = folder.join(path);
        if let Some(parent) = target.parent().filter(|parent| *parent != folder) {
            fs::create_dir_all(parent)?;
        }
        put(&target, file, group)?;
    }
    Ok(())
}

fn put(target: &Path, file: &File, group: Option<u32>) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut open = options.write(true).create_new(true).mode(0o600).open(target)?;
    open.write_all(&file.content)?;
    if group.is_some() || file.owner.is_some() {
        std::os::unix::fs::fchown(&open, file.owner, group)?;
    }
    open.set_permissions(fs::Permissions::from_mode(file.mode))
}

/// Links each name at the volume's top into `..data`, and removes links whose file is gone.
fn expose(volume: &Path, payload: &Payload) -> io::Result<()> {
    let tops: BTreeSet<PathBuf> = payload
        .keys()
        .filter_map(|path| Path::new(path).components().next())
        .map(|top| PathBuf::from(top.as_os_str()))
        .collect();
    for top in &tops {
        let link = volume.join(top);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(top), link)?;
        }
    }
    for entry in fs::read_dir(volume)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        if entry.file_type()?.is_symlink() && name != Path::new(DATA) && !tops.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove_old(volume: &Path, fresh: &Path) -> io::Result<()> {
    for entry in fs::read_dir(volume)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() && name.to_string_lossy().starts_with("..") && entry.path() != fresh {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// For tests and for callers that build a payload by hand.
pub fn payload(files: &[(&str, &str)]) -> Payload {
    files
        .iter()
        .map(|(path, content)| {
            ((*path).to_owned(), File { content: content.as_bytes().to_vec(), mode: 0o644, owner: None })
        })
        .collect::<BTreeMap<_, _>>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_all_at_once_and_left_alone_when_equal() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path();
        assert!(write(volume, &payload(&[("a", "1"), ("deep/b", "2")]), None).unwrap());
        assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(volume.join("deep/b")).unwrap(), "2");
        let first = fs::read_link(volume.join(DATA)).unwrap();
        assert!(!write(volume, &payload(&[("a", "1"), ("deep/b", "2")]), None).unwrap());
        assert_eq!(fs::read_link(volume.join(DATA)).unwrap(), first);
        assert!(write(volume, &payload(&[("a", "3")]), None).unwrap());
        assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "3");
        assert!(!volume.join("deep").exists());
        assert!(!volume.join(first).exists());
        assert_eq!(fs::read_link(volume.join("a")).unwrap(), Path::new("..data/a"));
    }

    #[test]
    fn a_half_written_replacement_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path();
        write(volume, &payload(&[("a", "1")]), None).unwrap();
        fs::create_dir(volume.join("..123")).unwrap();
        symlink("..123", volume.join(DATA_NEW)).unwrap();
        write(volume, &payload(&[("a", "2")]), None).unwrap();
        assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "2");
        assert!(!volume.join("..123").exists());
    }
}
