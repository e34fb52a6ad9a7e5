//! The store that survives: one writer thread orders every change, logs it, makes it visible and answers.
//!
//! ```text
//! write() -> Queue -> writer thread: check -> log append -> sync (if any is durable) -> State -> answers
//!                                     '-> segment full or old -> checkpoint thread -> redb -> segment free
//! ```
//!
//! A change becomes visible only after its batch is synced, so no reader ever saw what a power cut takes, except
//! for lazy and volatile changes, which promise nothing. The writer sleeps on the queue without a timer unless
//! something lazy waits to be synced or something waits to be checkpointed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use control_api::Resource;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::disk::{DiskFolder, Folder, LogFile};
use crate::memory::State;
use crate::object::{Key, Object};
use crate::queue::{Pending, Queue};
use crate::recovery;
use crate::store::{BoxFuture, Listing, Page, Store};
use crate::watch::{Expired, Watch};
use crate::write::{Write, WriteError};
use crate::writer::{Failure, Limits, Writer};

/// Writes that may wait at once; more wait for room.
const PENDING_WRITES_MAX: usize = 4096;

const CHECKPOINT: &str = "objects.redb";
const CHECKPOINT_DRAFT: &str = "objects.new";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use the store's folder {path}")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("another server already uses the store in {path}")]
    InUse { path: PathBuf },
    #[error("cannot read the command log")]
    Log(#[source] std::io::Error),
    #[error("a command in the log cannot be read: sequence {sequence}")]
    Command {
        sequence: u64,
        #[source]
        source: postcard::Error,
    },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the stored object {key} cannot be read")]
    Object {
        key: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot start the store's threads")]
    Thread(#[source] std::io::Error),
}

/// A store in a folder of its own.
pub struct DurableStore {
    state: Arc<State>,
    queue: Arc<Queue>,
    failure: Failure,
    room: tokio::sync::Semaphore,
    writer: Mutex<Option<JoinHandle<()>>>,
    _lock: Option<nix::fcntl::Flock<std::fs::File>>,
}

impl DurableStore {
    /// Opens `folder`, replays what the checkpoint lacks, and starts the writer.
    pub fn open(folder: &Path) -> Result<Arc<Self>, OpenError> {
        let trouble = |source| OpenError::Folder { path: folder.to_owned(), source };
        let place = DiskFolder::open(folder).map_err(trouble)?;
        let lock = std::fs::File::create(folder.join("lock")).map_err(trouble)?;
        let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock)
            .map_err(|_| OpenError::InUse { path: folder.to_owned() })?;
        Self::open_in(&place, folder, Some(lock), Limits::default())
    }

    fn open_in(
        place: &dyn Folder,
        path: &Path,
        lock: Option<nix::fcntl::Flock<std::fs::File>>,
        limits: Limits,
    ) -> Result<Arc<Self>, OpenError> {
        let files = [place.log("log-0").map_err(OpenError::Log)?, place.log("log-1").map_err(OpenError::Log)?];
        let trouble = |source| OpenError::Folder { path: path.to_owned(), source };
        if !place.has(CHECKPOINT).map_err(trouble)? {
            create_checkpoint(place, trouble)?;
        }
        let checkpoint = place.checkpoint(CHECKPOINT)?;
        // New files are found again after a power cut only once their folder is synced.
        place.sync().map_err(trouble)?;
        Self::start(files, checkpoint, lock, limits)
    }

    pub(crate) fn start(
        files: [Box<dyn LogFile>; 2],
        checkpoint: Checkpoint,
        lock: Option<nix::fcntl::Flock<std::fs::File>>,
        limits: Limits,
    ) -> Result<Arc<Self>, OpenError> {
        let recovered = recovery::recover(files, &checkpoint)?;
        let state = recovered.state.clone();
        let queue = Arc::new(Queue::default());
        let writer = Writer::new(recovered, queue.clone(), checkpoint, limits);
        let failure = writer.failure();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .stack_size(256 << 10)
            .spawn(move || writer.run())
            .map_err(OpenError::Thread)?;
        Ok(Arc::new(Self {
            state,
            queue,
            failure,
            room: tokio::sync::Semaphore::new(PENDING_WRITES_MAX),
            writer: Mutex::new(Some(thread)),
            _lock: lock,
        }))
    }

    /// Returns when the disk has refused what the store cannot do without: no write is accepted from then on, and only
    /// another start goes on from what is on the disk.
    pub async fn failed(&self) {
        self.failure.comes().await;
    }

    /// Does what was accepted, folds it into the checkpoint, and stops. Later writes get [`WriteError::Closed`].
    pub fn close(&self) {
        self.queue.close();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer ended in a panic");
        }
    }

    /// Stops without the last sync and checkpoint, as a crash would.
    #[cfg(test)]
    fn crash(&self) {
        self.queue.crash();
        self.close();
    }

    async fn queue_write(&self, write: Write) -> Result<Arc<Object>, WriteError> {
        let _room = self.room.acquire().await.map_err(|_| WriteError::Closed)?;
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.queue.push(Pending { write, answer })?;
        answered.await.map_err(|_| WriteError::Closed)?
    }
}

impl Drop for DurableStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for DurableStore {
    fn write(&self, write: Write) -> BoxFuture<'_, Result<Arc<Object>, WriteError>> {
        Box::pin(self.queue_write(write))
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.state.get(key)
    }

    fn list(&self, resource: &'static Resource, namespace: Option<&str>, page: &Page) -> Listing {
        self.state.list(resource, namespace, page)
    }

    fn watch(&self, resource: &'static Resource, from: u64) -> Result<Watch, Expired> {
        self.state.watch(resource, from)
    }

    fn revision(&self) -> u64 {
        self.state.revision()
    }

    fn failure(&self) -> Option<String> {
        self.failure.get().map(ToString::to_string)
    }
}

/// Under another name until it is whole: redb never opens what a power cut left of a half-made database.
fn create_checkpoint(
    place: &dyn Folder,
    trouble: impl Fn(std::io::Error) -> OpenError + Copy,
) -> Result<(), OpenError> {
    if place.has(CHECKPOINT_DRAFT).map_err(trouble)? {
        place.remove(CHECKPOINT_DRAFT).map_err(trouble)?;
    }
    place.checkpoint(CHECKPOINT_DRAFT)?.close()?;
    place.rename(CHECKPOINT_DRAFT, CHECKPOINT).map_err(trouble)
}

#[cfg(test)]
mod power;
#[cfg(test)]
mod tests;
