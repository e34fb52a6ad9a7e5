//! What waits to be sent to one node. The newest version of each object and no more: a slow node costs as much memory
//! as it has objects, and none of their bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control_store::Object;
use control_wire::{StreamError, Sync, SyncSink};
use tokio::sync::Notify;

use crate::desired::Reference;

#[derive(Default)]
struct Item {
    /// Sent first: an object that was replaced by another of its name is told as gone before.
    delete: bool,
    put: Option<Arc<Object>>,
}

#[derive(Default)]
struct Pending {
    reset: bool,
    changed: bool,
    closed: bool,
    position: u64,
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
        pending.reset = true;
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

    /// Everything up to `position` was put: the session sends what waits.
    pub fn flush(&self, position: u64) {
        let mut pending = self.lock();
        pending.position = position;
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
    pub async fn drain(&self, mut sink: SyncSink, epoch: u64) -> Result<(), StreamError> {
        loop {
            let batch = {
                let mut pending = self.lock();
                if pending.closed {
                    return Ok(());
                }
                if std::mem::take(&mut pending.changed) { Some(std::mem::take(&mut *pending)) } else { None }
            };
            let Some(batch) = batch else {
                tokio::select! {
                    () = self.wake.notified() => continue,
                    () = sink.stopped() => return Ok(()),
                }
            };
            send(batch, &mut sink, epoch).await?;
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

async fn send(mut batch: Pending, sink: &mut SyncSink, epoch: u64) -> Result<(), StreamError> {
    if batch.reset {
        sink.send(&Sync::Reset { epoch }).await?;
    }
    let revision = batch.position;
    for key in batch.order {
        let Some(item) = batch.items.remove(&key) else { continue };
        let (resource, namespace, name) = (key.plural.to_owned(), key.namespace.to_string(), key.name.to_string());
        if item.delete {
            let (resource, namespace, name) = (resource.clone(), namespace.clone(), name.clone());
            sink.send(&Sync::Delete { resource, namespace, name, revision }).await?;
        }
        if let Some(object) = item.put {
            let json = object.json.to_vec();
            sink.send(&Sync::Put { resource, namespace, name, revision: object.revision, json }).await?;
        }
    }
    sink.send(&Sync::Synced { revision, epoch }).await?;
    sink.flush().await
}
