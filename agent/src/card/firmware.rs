//! Writing on the FAT partition, which is mounted read-only but for the moment of a write.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use control_card::FILE_BYTES_MAX;
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

/// The partition while it can be written to; read-only again when dropped, if it was so before.
pub struct Writable {
    folder: PathBuf,
    remounted: bool,
}

impl Writable {
    pub fn open(folder: &Path) -> Result<Self> {
        let flags = statvfs(folder).with_context(|| format!("cannot look at {}", folder.display()))?.flags();
        let read_only = flags.contains(FsFlags::ST_RDONLY);
        if read_only {
            remount(folder, MsFlags::empty()).context("cannot make the card's first partition writable")?;
        }
        Ok(Self { folder: folder.to_owned(), remounted: read_only })
    }

    /// Replaces a small file. FAT knows no journal: a power cut may lose the file, which is written anew at the next boot.
    pub fn replace(&self, path: &Path, content: &str) -> Result<()> {
        let draft = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&draft)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn remove(&self, path: &Path) -> Result<()> {
        let remove = || {
            std::fs::remove_file(path)?;
            File::open(&self.folder)?.sync_all()
        };
        remove().with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Writes over what the file holds, in its own clusters, one content after the other, each on the card before the next.
    pub fn overwrite(&self, path: &Path, contents: &[Vec<u8>]) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let file = OpenOptions::new().write(true).open(path)?;
            for content in contents {
                file.write_all_at(content, 0)?;
                file.sync_all()?;
            }
            Ok(())
        };
        write().with_context(|| format!("cannot write over {}", path.display()))
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        if self.remounted
            && let Err(error) = remount(&self.folder, MsFlags::MS_RDONLY)
        {
            tracing::warn!(%error, "the card's first partition stays writable");
        }
    }
}

fn remount(folder: &Path, mode: MsFlags) -> nix::Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | mode;
    // The mount's own flags, and those of the file system: without the second, FAT would stay read-only.
    mount(None::<&str>, folder, None::<&str>, flags, None::<&str>)
}

/// A file of the size that is read at most, and one byte of what is behind; none where there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("cannot open {}", path.display()))?,
    };
    let mut content = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut content).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(content))
}
