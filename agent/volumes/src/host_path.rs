//! hostPath volumes: the host's path, checked or made as its type says.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use control_api::view::core::HostPathVolumeSource;

/// The path, once it is what the volume's type asks for.
pub fn check(volume: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = Path::new(&volume.path);
    if !path.is_absolute() || volume.path.split('/').any(|part| part == "..") {
        return Err(format!("hostPath {} must be absolute and hold no '..'", volume.path));
    }
    let failed = |what: &str| Err(format!("hostPath type check failed: {} is not a {what}", volume.path));
    let kind = fs::metadata(path).map(|data| data.file_type()).ok();
    match volume.type_.as_deref().unwrap_or_default() {
        "" => {}
        "DirectoryOrCreate" if kind.is_none() => {
            let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
            made.map_err(|error| format!("cannot make {}: {error}", volume.path))?;
        }
        "FileOrCreate" if kind.is_none() => {
            let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(path);
            made.map_err(|error| format!("cannot make {}: {error}", volume.path))?;
        }
        "Directory" | "DirectoryOrCreate" if !kind.is_some_and(|kind| kind.is_dir()) => return failed("directory"),
        "File" | "FileOrCreate" if !kind.is_some_and(|kind| kind.is_file()) => return failed("file"),
        "Socket" if !kind.is_some_and(|kind| kind.is_socket()) => return failed("socket"),
        "CharDevice" if !kind.is_some_and(|kind| kind.is_char_device()) => return failed("character device"),
        "BlockDevice" if !kind.is_some_and(|kind| kind.is_block_device()) => return failed("block device"),
        "Directory" | "DirectoryOrCreate" | "File" | "FileOrCreate" | "Socket" | "CharDevice" | "BlockDevice" => {}
        other => return Err(format!("hostPath type {other} is not one that Kubernetes has")),
    }
    Ok(path.to_owned())
}
