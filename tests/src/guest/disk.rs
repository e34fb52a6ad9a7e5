//! A disk with a volatile write cache, which QEMU speaks to by the NBD protocol, so that a power cut is an honest one.
//!
//! With a plain file, `kill -9` of QEMU loses nothing that the guest's kernel had written: it lies in this machine's page
//! cache, whatever QEMU's `cache=` says. A real disk owes its system less: only what was written before the last completed
//! flush is safe, and of the rest any part may be there, in any order, sector by sector. So unflushed sectors are held in
//! memory here, and after a cut each of them reaches the file, or not, by the toss of a coin.

mod cache;
mod protocol;

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use self::cache::WriteCache;

/// A file that outlives its machine's power, not its test.
#[derive(Debug)]
pub struct Disk {
    file: PathBuf,
    socket: PathBuf,
    written_bytes: Arc<AtomicU64>,
    server: Option<JoinHandle<()>>,
}

impl Disk {
    /// A copy of an image in `folder`, grown to `size_bytes`.
    pub fn copied(image: &Path, folder: &Path, size_bytes: u64) -> Self {
        let file = folder.join("disk");
        let copied = std::process::Command::new("cp").arg("--sparse=always").arg(image).arg(&file).status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy {}", image.display());
        let grown = fs::OpenOptions::new().write(true).open(&file).expect("the copy");
        assert!(grown.metadata().expect("the copy").len() <= size_bytes, "the image is larger than {size_bytes} bytes");
        grown.set_len(size_bytes).expect("a sparse file");
        Self { file, socket: folder.join("disk.sock"), written_bytes: Arc::default(), server: None }
    }

    /// The content as the next start finds it; to be touched only while the power is off.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// All that the guest has written since the disk was made, flushed or not.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Serves one start of a machine; what QEMU calls the disk. `seed` decides what an unflushed write's fate will be.
    pub fn plug(&mut self, seed: u64) -> String {
        self.unplug();
        drop(fs::remove_file(&self.socket));
        let listener = UnixListener::bind(&self.socket).expect("a socket in the test's folder");
        let file = fs::OpenOptions::new().read(true).write(true).open(&self.file).expect("the disk's file");
        let mut cache = WriteCache::new(file, seed);
        let written = Arc::clone(&self.written_bytes);
        self.server = Some(std::thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else { return };
            // QEMU that was killed ends like any other broken connection: without the farewell.
            match protocol::serve(stream, &mut cache, &written) {
                Ok(()) => cache.flush(),
                Err(_) => cache.lose_power(),
            }
        }));
        format!("nbd:unix:{}", self.socket.display())
    }

    /// Waits until the file is what the machine left behind. Its QEMU must have ended.
    pub fn unplug(&mut self) {
        let Some(server) = self.server.take() else { return };
        // One that QEMU never came to is still waiting.
        drop(UnixStream::connect(&self.socket));
        assert!(server.join().is_ok(), "the disk's thread panicked");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            drop(UnixStream::connect(&self.socket));
            drop(server.join());
        }
    }
}
