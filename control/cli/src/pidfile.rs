//! `DIR/NAME.pid`: who runs here, locked for as long as it does.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// Held until dropped. The file stays when its holder is killed; the lock does not.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Pidfile {
    /// Writes our pid; fails when another process holds the file.
    pub fn hold(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((mut file, _)) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).unwrap_or_default();
                bail!("already running as pid {}: {} is locked", pid.trim(), path.display());
            }
        };
        lock.set_len(0)?;
        writeln!(&*lock, "{}", std::process::id())?;
        lock.flush()?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // Best effort: a file that stays is taken over by the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}
