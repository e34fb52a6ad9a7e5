//! The kernel's side: tmpfs for what must not reach the disk, bind mounts for parts of volumes, and taking both away.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::VolumeError;

/// Mounts a tmpfs on `path` unless one is there; `bytes_max` 0 is the kernel's default of half the memory.
pub fn tmpfs(path: &Path, bytes_max: u64) -> Result<(), VolumeError> {
    if is_mounted(path)? {
        return Ok(());
    }
    let mut options = "mode=0777".to_owned();
    if bytes_max > 0 {
        options.push_str(&format!(",size={bytes_max}"));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(VolumeError::io("mount a tmpfs on", path))
}

/// Binds what `source` leads to on `target`.
pub fn bind(source: &Path, target: &Path) -> Result<(), VolumeError> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(VolumeError::io("bind on", target))
}

/// Whether something is mounted exactly there.
pub fn is_mounted(path: &Path) -> Result<bool, VolumeError> {
    Ok(below(path)?.iter().any(|mounted| mounted == path))
}

/// Takes away every mount at or below `path`, the innermost first.
pub fn take_away(path: &Path) -> Result<(), VolumeError> {
    for mounted in below(path)?.iter().rev() {
        // Lazily: a process that still looks into it must not keep the pod from ending.
        umount2(mounted, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .map_err(VolumeError::io("unmount", mounted))?;
    }
    Ok(())
}

/// Mounts at or below `path`, in the order they were made.
fn below(path: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    const TABLE: &str = "/proc/self/mountinfo";
    let table = fs::read_to_string(TABLE).map_err(VolumeError::io("read", Path::new(TABLE)))?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(unescape(point)));
    Ok(points.filter(|point| point.starts_with(path)).collect())
}

/// The table writes a space as `\040`, and so on.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = (bytes[at] == b'\\').then(|| text.get(at + 1..at + 4)).flatten();
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            out.push(byte);
            at += 4;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_in_mount_points_are_read_back() {
        assert_eq!(unescape(r"/a\040b\134c"), "/a b\\c");
        assert_eq!(unescape(r"/plain\"), r"/plain\");
    }
}
