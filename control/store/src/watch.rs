//! What a watcher is told. A watcher holds a position in its resource's history, not a queue of its own: a slow one
//! costs nothing, and one that falls behind the history gets [`Expired`].

use std::sync::Arc;

use crate::memory::Shelf;
use crate::object::Object;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Added,
    Modified,
    Deleted,
}

/// One change, as every watcher of the resource sees it. All namespaces; the reader filters.
#[derive(Debug, Clone)]
pub struct Event {
    pub kind: EventKind,
    /// The new version; for `Deleted` the last, at the revision of the deletion.
    pub object: Arc<Object>,
    /// The version before; for selectors that the change moves an object into or out of.
    pub previous: Option<Arc<Object>>,
}

/// History does not reach back to the revision asked for: list again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Expired {
    pub asked: u64,
    pub oldest: u64,
}

/// A position in one resource's history.
#[derive(Debug)]
pub struct Watch {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) position: u64,
    pub(crate) changed: tokio::sync::watch::Receiver<u64>,
}

impl Watch {
    /// Events after the position, at least one; waits for it. Cancel-safe.
    pub async fn next(&mut self) -> Result<Vec<Event>, Expired> {
        loop {
            // Marked as seen before looking, so that a change between the look and the wait is not missed.
            self.changed.borrow_and_update();
            let events = self.shelf.events_after(self.position)?;
            if let Some(last) = events.last() {
                self.position = last.object.revision;
                return Ok(events);
            }
            if self.changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Events after the position that are there already, perhaps none; never waits.
    pub fn ready(&mut self) -> Result<Vec<Event>, Expired> {
        let events = self.shelf.events_after(self.position)?;
        if let Some(last) = events.last() {
            self.position = last.object.revision;
        }
        Ok(events)
    }

    /// The revision up to which everything was told.
    pub fn position(&self) -> u64 {
        self.position
    }
}
