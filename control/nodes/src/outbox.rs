//! What waits to be sent to one node of its own. The newest version of each object and no more: a slow node costs as much
//! memory as it has objects, and none of their bytes. What every node is told is in the `broadcast`.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control_store::Object;
use control_wire::{StreamError, Sync, SyncSink};
use tokio::sync::Notify;

use crate::broadcast::{Broadcast, Head};
use crate::desired::Reference;

/// A node that has not taken everything within this lets the next one begin.
const RESET_TURN_MAX: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Item {
    /// Sent first: an object that was replaced by another of its name is told as gone before.
    delete: bool,
    put: Option<Arc<Object>>,
}

#[derive(Default)]
struct Pending {
    reset: bool,
    /// The node has what every node is told up to this revision.
    since: Option<u64>,
    changed: bool,
    closed: bool,
    position: u64,
    /// What every node is told comes before this node's own, up to this entry.
    through: u64,
    order: VecDeque<Reference>,
    items: HashMap<Reference, Item>,
}

/// Filled by the dispatcher, emptied by the session.
#[derive(Default)]
pub struct Outbox {
    pending: Mutex<Pending>,
    wake: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what waits; everything follows.
    pub fn reset(&self) {
        let mut pending = self.lock();
        pending.order.clear();
        pending.items.clear();
        (pending.reset, pending.since) = (true, None);
    }

    pub fn put(&self, object: Arc<Object>) {
        let key = Reference::of(&object);
        let mut pending = self.lock();
        if pending.closed {
            return;
        }
        let item = pending.item(key);
        let replaced = item.put.as_ref().is_some_and(|waiting| waiting.meta.uid != object.meta.uid);
        item.delete |= replaced;
        item.put = Some(object);
    }

    pub fn delete(&self, key: Reference) {
        let mut pending = self.lock();
        if pending.closed {
            return;
        }
        let item = pending.item(key);
        item.delete = true;
        item.put = None;
    }

    /// Of what every node is told, only what changed after `since`.
    pub fn resume(&self, since: u64) {
        self.lock().since = Some(since);
    }

    /// Everything up to `position` was put: the session sends what waits, after the broadcast's entries up to `through`.
    pub fn flush(&self, position: u64, through: u64) {
        let mut pending = self.lock();
        (pending.position, pending.through) = (position, through);
        pending.changed = true;
        drop(pending);
        self.wake.notify_one();
    }

    /// Ends the session's stream; nothing is kept from now on.
    pub fn close(&self) {
        *self.lock() = Pending { closed: true, ..Pending::default() };
        self.wake.notify_one();
    }

    /// Sends until the node no longer listens or the outbox is closed.
    pub async fn drain(&self, broadcast: &Broadcast, sink: SyncSink, epoch: u64) -> Result<(), StreamError> {
        let mut follow = broadcast.follow();
        let mut stream = Stream { broadcast, sink, epoch, number: 0 };
        let mut started = false;
        loop {
            // The head before the node's own: what comes with it is there by then.
            let head = *follow.borrow_and_update();
            let batch = {
                let mut pending = self.lock();
                if pending.closed {
                    return Ok(());
                }
                if std::mem::take(&mut pending.changed) { Some(std::mem::take(&mut *pending)) } else { None }
            };
            if batch.is_none() && !(started && head.number > stream.number) {
                tokio::select! {
                    () = self.wake.notified() => continue,
                    _ = follow.changed() => continue,
                    () = stream.sink.stopped() => return Ok(()),
                }
            }
            started = true;
            let batch = batch.unwrap_or_default();
            if !batch.reset {
                stream.send(batch, head).await?;
                continue;
            }
            // What is on its way to a node is memory: few are told everything at one time, and a slow one holds nobody up.
            let turn = broadcast.resets.acquire().await;
            let mut sending = pin!(stream.send(batch, head));
            match tokio::time::timeout(RESET_TURN_MAX, sending.as_mut()).await {
                Ok(sent) => sent?,
                Err(_) => {
                    drop(turn);
                    sending.await?;
                }
            }
        }
    }
}

impl Pending {
    fn item(&mut self, key: Reference) -> &mut Item {
        if !self.items.contains_key(&key) {
            self.order.push_back(key.clone());
        }
        self.items.entry(key).or_default()
    }
}

/// One session's stream, and how far it is in what every node is told.
struct Stream<'a> {
    broadcast: &'a Broadcast,
    sink: SyncSink,
    epoch: u64,
    number: u64,
}

impl Stream<'_> {
    async fn send(&mut self, mut batch: Pending, head: Head) -> Result<(), StreamError> {
        let epoch = self.epoch;
        if batch.reset {
            self.number = 0;
            self.sink.send(&Sync::Reset { epoch }).await?;
        }
        self.send_shared(batch.through.max(head.number), &batch).await?;
        for key in std::mem::take(&mut batch.order) {
            let Some(item) = batch.items.remove(&key) else { continue };
            if item.delete {
                self.delete(&key, batch.position).await?;
            }
            if let Some(object) = item.put {
                self.put(&key, &object).await?;
            }
        }
        let revision = batch.position.max(head.position);
        self.sink.send(&Sync::Synced { revision, epoch }).await?;
        self.sink.flush().await
    }

    async fn send_shared(&mut self, through: u64, batch: &Pending) -> Result<(), StreamError> {
        let since = batch.since.unwrap_or(0);
        while let Some(entry) = self.broadcast.next(self.number, through) {
            self.number = entry.number;
            match &entry.object {
                _ if entry.revision <= since => {}
                Some(object) => self.put(&entry.reference, object).await?,
                // What is everything holds nothing that is gone.
                None if batch.reset => {}
                None => self.delete(&entry.reference, entry.revision).await?,
            }
        }
        self.number = self.number.max(through);
        Ok(())
    }

    async fn put(&mut self, key: &Reference, object: &Object) -> Result<(), StreamError> {
        let (resource, namespace, name) = (key.plural.to_owned(), key.namespace.to_string(), key.name.to_string());
        let json = object.json.to_vec();
        self.sink.send(&Sync::Put { resource, namespace, name, revision: object.revision, json }).await
    }

    async fn delete(&mut self, key: &Reference, revision: u64) -> Result<(), StreamError> {
        let (resource, namespace, name) = (key.plural.to_owned(), key.namespace.to_string(), key.name.to_string());
        self.sink.send(&Sync::Delete { resource, namespace, name, revision }).await
    }
}
