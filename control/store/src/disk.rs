//! What the log needs of a file; a trait, so that tests can lose power between a write and its sync.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

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
