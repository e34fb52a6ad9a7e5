//! What waits for the writer thread: changes from callers, and word from the checkpoint thread.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::object::Object;
use crate::write::{Write, WriteError};

/// A change and where its answer goes.
pub struct Pending {
    pub write: Write,
    pub answer: tokio::sync::oneshot::Sender<Result<Arc<Object>, WriteError>>,
}

#[derive(Default)]
struct Waiting {
    writes: Vec<Pending>,
    /// Whether the checkpoint thread finished, and how.
    folded: Option<bool>,
    closed: bool,
    crashed: bool,
}

/// A mailbox with one reader. Its length is bounded by the store's semaphore.
#[derive(Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

/// What a wait ended with.
pub struct Taken {
    pub writes: Vec<Pending>,
    pub folded: Option<bool>,
    pub closed: bool,
    pub crashed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, pending: Pending) -> Result<(), WriteError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(WriteError::Closed);
        }
        waiting.writes.push(pending);
        self.filled.notify_one();
        Ok(())
    }

    /// For tests: the writer takes all of them at once.
    #[cfg(test)]
    pub fn push_all(&self, pending: Vec<Pending>) {
        self.lock().writes.extend(pending);
        self.filled.notify_one();
    }

    pub fn folded(&self, well: bool) {
        self.lock().folded = Some(well);
        self.filled.notify_one();
    }

    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// For tests: what follows is not written any more.
    #[cfg(test)]
    pub fn crash(&self) {
        let mut waiting = self.lock();
        (waiting.closed, waiting.crashed) = (true, true);
        self.filled.notify_one();
    }

    /// How the checkpoint thread ended, if it did.
    pub fn take_folded(&self) -> Option<bool> {
        self.lock().folded.take()
    }

    /// Waits for anything at all, at most until `deadline`; without one, as long as it takes.
    pub fn take(&self, deadline: Option<Instant>) -> Taken {
        let mut waiting = self.lock();
        while waiting.writes.is_empty() && waiting.folded.is_none() && !waiting.closed {
            match deadline {
                None => waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
                    waiting = self.filled.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        Taken {
            writes: std::mem::take(&mut waiting.writes),
            folded: waiting.folded.take(),
            closed: waiting.closed,
            crashed: waiting.crashed,
        }
    }
}
