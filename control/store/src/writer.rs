//! The writer thread: the one place where revisions are given out and the log is appended.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::checkpoint::{Checkpoint, RowChange};
use crate::command::{Command, Op};
use crate::log::Log;
use crate::memory::{State, check, finish};
use crate::object::{Key, Object};
use crate::queue::{Pending, Queue};
use crate::recovery::Recovered;
use crate::write::{Tier, WriteError};

/// When the writer does what is not a write.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A segment's size at which it is folded into the checkpoint.
    pub segment_bytes: u64,
    /// Where the writer waits for a checkpoint that does not keep up.
    pub segment_bytes_max: u64,
    /// The log is folded in after this long at the latest, so that a start never has old commands to replay. Long,
    /// since a fold writes far more than the log did: it is what a card should see least of.
    pub fold_after: Duration,
    /// A lazy change is on the disk after this long at the latest.
    pub lazy_sync_after: Duration,
    /// Revisions reserved at a time.
    pub reserve: u64,
    /// Writes go on while a fold does; without it all is in one order, which a test can repeat.
    pub folds_beside: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            segment_bytes_max: 64 << 20,
            fold_after: Duration::from_secs(600),
            lazy_sync_after: Duration::from_secs(30),
            reserve: 1 << 20,
            folds_beside: true,
        }
    }
}

/// What a command usually takes beside its object's bytes.
const ENVELOPE_BYTES: usize = 128;

/// Changes since the last fold, by key: what redb has to be told.
type Dirty = HashMap<Key, Option<Arc<Object>>>;
type Answer = (tokio::sync::oneshot::Sender<Result<Arc<Object>, WriteError>>, Arc<Object>);

type Refusal = (tokio::sync::oneshot::Sender<Result<Arc<Object>, WriteError>>, WriteError);

/// Why nothing is accepted any more; set once.
#[derive(Debug, Clone, Default)]
pub struct Failure(Arc<Failed>);

#[derive(Debug, Default)]
struct Failed {
    error: OnceLock<Arc<std::io::Error>>,
    told: tokio::sync::Notify,
}

impl Failure {
    pub fn get(&self) -> Option<&Arc<std::io::Error>> {
        self.0.error.get()
    }

    fn set(&self, error: Arc<std::io::Error>) {
        // Later failures follow from the first.
        let _first = self.0.error.set(error);
        self.0.told.notify_waiters();
    }

    /// Returns once there is one.
    pub async fn comes(&self) {
        loop {
            let told = self.0.told.notified();
            if self.get().is_some() {
                return;
            }
            told.await;
        }
    }
}

/// A batch on its way: checked and given revisions, not yet logged.
#[derive(Default)]
struct Batch {
    payloads: Vec<Vec<u8>>,
    durable: bool,
    visible: Vec<(Arc<Object>, bool)>,
    logged: Vec<(Arc<Object>, bool)>,
    answers: Vec<Answer>,
    /// What was refused because of the batch itself. Nobody may hear of a change that nobody can see yet, and that a
    /// power cut could still take: not from a refusal either.
    refusals: Vec<Refusal>,
    /// What the batch itself left of a key, over what readers see.
    overlay: HashMap<Key, Option<Arc<Object>>>,
}

impl Batch {
    /// Nothing of it is written.
    fn refuse(self, why: fn(Arc<std::io::Error>) -> WriteError, error: Arc<std::io::Error>) {
        let refused = self.refusals.into_iter().map(|(answer, _)| answer);
        for answer in self.answers.into_iter().map(|(answer, _)| answer).chain(refused) {
            drop(answer.send(Err(why(error.clone()))));
        }
    }
}

pub struct Writer {
    state: Arc<State>,
    queue: Arc<Queue>,
    log: Log,
    checkpoint: Arc<Checkpoint>,
    dirty: Dirty,
    revision: u64,
    reserved: u64,
    limits: Limits,
    folding: Option<std::thread::JoinHandle<()>>,
    fold_at: Option<Instant>,
    sync_at: Option<Instant>,
    failed: Failure,
    /// The last batch found no room.
    full: bool,
}

impl Writer {
    /// The writer of a store that was just recovered.
    pub fn new(recovered: Recovered, queue: Arc<Queue>, checkpoint: Checkpoint, limits: Limits) -> Self {
        let Recovered { state, log, reserved } = recovered;
        Self {
            revision: state.revision(),
            state,
            limits,
            queue,
            log,
            checkpoint: Arc::new(checkpoint),
            dirty: Dirty::new(),
            reserved,
            folding: None,
            fold_at: None,
            sync_at: None,
            failed: Failure::default(),
            full: false,
        }
    }

    /// Where a reader sees whether the writer has failed.
    pub fn failure(&self) -> Failure {
        self.failed.clone()
    }

    fn fail(&self, error: Arc<std::io::Error>) {
        self.failed.set(error);
    }

    pub fn run(mut self) {
        loop {
            let deadline = [self.fold_at.filter(|_| self.folding.is_none()), self.sync_at].into_iter().flatten().min();
            let taken = self.queue.take(deadline);
            if taken.crashed {
                self.wait_for_fold();
                return;
            }
            if let Some(well) = taken.folded {
                self.folded(well);
            }
            if !taken.writes.is_empty() {
                self.write(taken.writes);
            }
            self.housekeep(Instant::now());
            if taken.closed {
                break;
            }
        }
        self.close();
    }

    fn write(&mut self, writes: Vec<Pending>) {
        let mut batch = Batch::default();
        let reserved = self.reserved;
        for pending in writes {
            if let Some(error) = self.failed.get() {
                drop(pending.answer.send(Err(WriteError::Log(error.clone()))));
                continue;
            }
            let (answer, tier) = (pending.answer, pending.write.tier);
            let is_changed = batch.overlay.contains_key(&pending.write.key);
            match self.prepare(&mut batch, pending.write.key, tier, pending.write.precondition, pending.write.change) {
                Ok(object) => batch.answers.push((answer, object)),
                Err(error) if is_changed => batch.refusals.push((answer, error)),
                Err(error) => drop(answer.send(Err(error))),
            }
        }
        if let Err(error) = self.make_room(&batch) {
            // The reservation was not written either.
            self.reserved = reserved;
            return batch.refuse(WriteError::Full, error);
        }
        if let Err(error) = self.log(&batch) {
            tracing::error!(%error, "the store's log cannot be written: every write is refused until a restart");
            let error = Arc::new(error);
            self.fail(error.clone());
            return batch.refuse(WriteError::Log, error);
        }
        for (object, deleted) in batch.logged {
            self.dirty.insert(object.key.clone(), (!deleted).then_some(object));
        }
        self.state.apply(batch.visible);
        for (answer, object) in batch.answers {
            // A caller that went away does not need its answer; the write stands.
            drop(answer.send(Ok(object)));
        }
        for (answer, error) in batch.refusals {
            drop(answer.send(Err(error)));
        }
    }

    fn prepare(
        &mut self,
        batch: &mut Batch,
        key: Key,
        tier: Tier,
        precondition: crate::write::Precondition,
        change: crate::write::Change,
    ) -> Result<Arc<Object>, WriteError> {
        let current = match batch.overlay.get(&key) {
            Some(version) => version.clone(),
            None => self.state.get(&key),
        };
        check(current.as_deref(), precondition)?;
        let revision = self.revision + 1;
        let (object, deleted) = finish(key, change, revision)?;
        if revision > self.reserved {
            self.reserved = revision + self.limits.reserve;
            let through = self.reserved;
            batch.payloads.push(encode(revision, Op::Reserve { through }));
            // Until the reservation is on the disk no revision of it may be seen, whatever its tier.
            batch.durable = true;
        }
        self.revision = revision;
        if tier != Tier::Volatile {
            batch.payloads.push(encode(revision, op(&object, deleted)));
            batch.durable |= tier == Tier::Durable;
            batch.logged.push((object.clone(), deleted));
        }
        batch.visible.push((object.clone(), deleted));
        batch.overlay.insert(object.key.clone(), (!deleted).then(|| object.clone()));
        Ok(object)
    }

    /// What does not fit is refused, and the store goes on; any other trouble will be met again in the log itself.
    fn make_room(&mut self, batch: &Batch) -> Result<(), Arc<std::io::Error>> {
        if batch.payloads.is_empty() {
            return Ok(());
        }
        let full = |error: &std::io::Error| {
            use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
            matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
        };
        let error = self.log.make_room(&batch.payloads).err().filter(full);
        if error.is_some() != self.full {
            self.full = error.is_some();
            match &error {
                Some(error) => tracing::error!(%error, "the disk has no room: writes are refused"),
                None => tracing::info!("the disk has room again"),
            }
        }
        error.map_or(Ok(()), |error| Err(Arc::new(error)))
    }

    fn log(&mut self, batch: &Batch) -> std::io::Result<()> {
        if batch.payloads.is_empty() {
            return Ok(());
        }
        self.log.append(batch.payloads.iter().map(Vec::as_slice))?;
        let now = Instant::now();
        if batch.durable {
            self.log.sync()?;
            self.sync_at = None;
        } else if self.sync_at.is_none() {
            self.sync_at = Some(now + self.limits.lazy_sync_after);
        }
        self.fold_at.get_or_insert(now + self.limits.fold_after);
        Ok(())
    }

    fn housekeep(&mut self, now: Instant) {
        if self.failed.get().is_some() {
            (self.sync_at, self.fold_at) = (None, None);
            return;
        }
        let overdue = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let mut result = Ok(());
        if overdue(self.sync_at) {
            self.sync_at = None;
            result = self.log.sync();
        }
        if self.log.active_bytes() > self.limits.segment_bytes_max {
            self.wait_for_fold();
        }
        if result.is_ok()
            && (overdue(self.fold_at) || self.log.active_bytes() > self.limits.segment_bytes)
            && self.folding.is_none()
        {
            result = self.fold();
        }
        if let Err(error) = result {
            tracing::error!(%error, "the store's log cannot be synced: every write is refused until a restart");
            self.fail(Arc::new(error));
        }
    }

    /// Turns to the other segment and lets a thread fold the old one's changes into redb.
    fn fold(&mut self) -> std::io::Result<()> {
        if !self.log.can_switch() {
            return Ok(());
        }
        let applied = self.log.switch()?;
        (self.fold_at, self.sync_at) = (None, None);
        let changes = changes(std::mem::take(&mut self.dirty));
        let (checkpoint, queue, reserved) = (self.checkpoint.clone(), self.queue.clone(), self.reserved);
        let thread =
            std::thread::Builder::new().name("store-fold".to_owned()).stack_size(512 << 10).spawn(move || {
                let result = checkpoint.fold(&changes, applied, reserved);
                if let Err(error) = &result {
                    tracing::error!(%error, "the store's checkpoint cannot be written: every write is refused until a restart");
                }
                queue.folded(result.is_ok());
            })?;
        self.folding = Some(thread);
        if !self.limits.folds_beside {
            self.wait_for_fold();
        }
        Ok(())
    }

    /// After a failed fold its segment stays as it is, to be replayed by the next start, and nothing is accepted any more.
    fn folded(&mut self, well: bool) {
        if let Some(thread) = self.folding.take() {
            drop(thread.join());
        }
        if well {
            self.log.free_other();
        } else {
            self.fail(Arc::new(std::io::Error::other("the checkpoint cannot be written")));
        }
    }

    fn wait_for_fold(&mut self) {
        if let Some(thread) = self.folding.take() {
            drop(thread.join());
            // The thread said how it ended before it ended.
            let well = self.queue.take_folded().unwrap_or(false);
            self.folded(well);
        }
    }

    fn close(mut self) {
        self.wait_for_fold();
        if self.failed.get().is_some() || self.dirty.is_empty() {
            drop(self.log.sync());
            return;
        }
        let result = self.log.sync().map_err(|error| error.to_string()).and_then(|()| {
            let changes = changes(std::mem::take(&mut self.dirty));
            self.checkpoint.fold(&changes, self.log.last_sequence(), self.reserved).map_err(|error| error.to_string())
        });
        if let Err(error) = result {
            tracing::error!(error, "the last checkpoint was not written; the next start replays the log");
        }
    }
}

/// In the order of their keys: pages are filled one after the other, and in the same way each time.
fn changes(dirty: Dirty) -> Vec<RowChange> {
    let mut dirty: Vec<_> = dirty.into_iter().collect();
    dirty.sort_by_cached_key(|(key, _)| (key.resource.group_resource(), key.namespace.clone(), key.name.clone()));
    dirty
        .into_iter()
        .map(|(key, object)| RowChange {
            resource: key.resource.group_resource(),
            namespace: key.namespace.as_ref().to_owned(),
            name: key.name.as_ref().to_owned(),
            version: object.map(|object| (object.revision, object.json.clone())),
        })
        .collect()
}

fn op(object: &Object, deleted: bool) -> Op {
    let resource = object.key.resource.group_resource();
    let namespace = object.key.namespace.as_ref().to_owned();
    let name = object.key.name.as_ref().to_owned();
    if deleted {
        Op::Delete { resource, namespace, name }
    } else {
        Op::Put { resource, namespace, name, json: object.json.clone() }
    }
}

fn encode(revision: u64, op: Op) -> Vec<u8> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time_ms = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    let room = ENVELOPE_BYTES
        + match &op {
            Op::Put { json, .. } => json.len(),
            Op::Delete { .. } | Op::Reserve { .. } => 0,
        };
    postcard::to_extend(&Command { revision, time_ms, op }, Vec::with_capacity(room))
        .expect("a command of owned strings and bytes serializes")
}
