//! What the store needs of its folder and of a log's file; traits, so that tests can lose power between a write and
//! its sync.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, CheckpointError};

/// The store's folder.
pub trait Folder {
    /// Opens or creates a file of the log.
    fn log(&self, name: &str) -> io::Result<Box<dyn LogFile>>;
    /// Opens or creates the checkpoint.
    fn checkpoint(&self, name: &str) -> Result<Checkpoint, CheckpointError>;
    fn has(&self, name: &str) -> io::Result<bool>;
    /// Takes the place of `to`, if there is one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Names as they are now are found again after a power cut.
    fn sync(&self) -> io::Result<()>;
}

/// A real folder.
#[derive(Debug)]
pub struct DiskFolder(PathBuf);

impl DiskFolder {
    /// Opens or creates `path`, for its owner only; a new one is found again after a power cut.
    pub fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        for parent in missing.iter().filter_map(|path| path.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent)?.sync_all()?;
        }
        Ok(Self(path.to_owned()))
    }
}

impl Folder for DiskFolder {
    fn log(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(DiskFile::open(&self.0.join(name))?))
    }

    fn checkpoint(&self, name: &str) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::open(&self.0.join(name))
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        self.0.join(name).try_exists()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// A file of the log: positioned writes that are only promised after `sync`.
pub trait LogFile: Send {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Everything written is on the disk when this returns.
    fn sync(&mut self) -> io::Result<()>;
    fn read_all(&mut self) -> io::Result<Vec<u8>>;
}

/// A real file.
#[derive(Debug)]
pub struct DiskFile(File);

impl DiskFile {
    /// Opens or creates `path`, readable by its owner only.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Self(file))
    }
}

impl LogFile for DiskFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.0.metadata()?.len()).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}
