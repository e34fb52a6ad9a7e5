//! Small files that are whole or not there: temporary file, fsync, rename, fsync of the folder.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// For secrets: keys, tokens, identities.
pub const MODE_PRIVATE: u32 = 0o600;
/// For what anyone may read: certificates.
pub const MODE_PUBLIC: u32 = 0o644;

/// A file that could not be read or replaced.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}", path = .path.display())]
pub struct FileError {
    pub action: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl FileError {
    fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }

    /// A file that was read and makes no sense.
    pub fn damaged(path: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { action: "understand", path: path.to_owned(), source: io::Error::new(io::ErrorKind::InvalidData, why) }
    }
}

/// Replaces `path`: a power cut leaves the old content or the new, never a part.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    exchange(path, content, mode, true)?;
    sync_folder(path)
}

/// Replaces `path` without a sync: readers see the old content or the new, and a power cut may leave either, a part, or
/// nothing. What is left of it is only ever the beginning or sectors of one content, with zeros between them.
pub fn replace_lazily(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    exchange(path, content, mode, false)
}

fn exchange(path: &Path, content: &[u8], mode: u32, sync: bool) -> Result<(), FileError> {
    let temporary = path.with_added_extension("new");
    // A leftover of a crash may carry another mode, and `mode` counts only at creation.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(FileError::at("remove", &temporary)(error));
        }
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(&temporary).map_err(FileError::at("create", &temporary))?;
    file.write_all(content).map_err(FileError::at("write", &temporary))?;
    if sync {
        file.sync_all().map_err(FileError::at("sync", &temporary))?;
    }
    std::fs::rename(&temporary, path).map_err(FileError::at("replace", path))
}

/// The file's content; `None` where there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::at("read", path)(error)),
    }
}

/// Moves a file that makes no sense out of the way, for a person to look at.
pub fn set_aside(path: &Path) -> Result<(), FileError> {
    std::fs::rename(path, path.with_added_extension("damaged")).map_err(FileError::at("set aside", path))
}

/// Removes `path` for good.
pub fn remove(path: &Path) -> Result<(), FileError> {
    std::fs::remove_file(path).map_err(FileError::at("remove", path))?;
    sync_folder(path)
}

/// The names of the files in a folder.
pub fn names(folder: &Path) -> Result<Vec<String>, FileError> {
    let list = || {
        let entries = std::fs::read_dir(folder)?;
        entries
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<String>>>()
    };
    list().map_err(FileError::at("list", folder))
}

/// The names in the folder that `path` lies in are found again after a power cut.
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::at("sync", folder))
}

/// Creates a folder that only its owner can enter, and those above it. A new one is found again after a power cut:
/// what is kept in it would be lost with it.
pub fn private_folder(path: &Path) -> Result<(), FileError> {
    make_folder(path, 0o700)
}

/// The same for a folder that others may enter.
pub fn public_folder(path: &Path) -> Result<(), FileError> {
    make_folder(path, 0o755)
}

fn make_folder(path: &Path, mode: u32) -> Result<(), FileError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(FileError::at("create", path))?;
    missing.into_iter().filter(|path| !path.as_os_str().is_empty()).try_for_each(sync_folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folders_are_made_one_in_another_and_a_relative_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        private_folder(&path).unwrap();
        private_folder(&path).unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        sync_folder(Path::new("relative")).unwrap();
    }

    #[test]
    fn a_file_is_replaced_whole_and_private_even_after_a_crash_left_half_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(folder.path().join("key.new"), "half").unwrap();
        replace(&path, b"one", MODE_PRIVATE).unwrap();
        replace(&path, b"two", MODE_PRIVATE).unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!folder.path().join("key.new").exists());
        assert!(read(&folder.path().join("none")).unwrap().is_none());
    }
}
