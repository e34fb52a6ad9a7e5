//! A store whose disk has refused it, and the disk that takes writes again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use control_store::DurableStore;

/// Nothing tells of room on a disk, so it is looked for: only by a server whose store has failed.
const LOOK: Duration = Duration::from_secs(5);
/// A start writes what the log holds into the checkpoint.
const ROOM_BYTES: u64 = 16 << 20;

/// Returns when the store has failed and its folder takes writes again: another start then goes on from what is there.
pub async fn mended(store: &DurableStore, folder: &Path) {
    store.failed().await;
    loop {
        tokio::time::sleep(LOOK).await;
        match try_to_write(folder) {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "the disk does not take writes yet"),
        }
    }
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let disk = nix::sys::statvfs::statvfs(folder)?;
    #[allow(clippy::unnecessary_cast, reason = "they are 32 bits wide on armv7")]
    let free_bytes = (disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64);
    if free_bytes < ROOM_BYTES {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let path = folder.join("probe");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[1; 4096])?;
        file.sync_all()
    });
    fs::remove_file(&path)?;
    written
}
