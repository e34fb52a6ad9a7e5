//! What may be asked of the store: one change of one key.

use control_api::Draft;

use crate::object::Key;

/// What a crash may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Synced to disk before the answer.
    Durable,
    /// In the log, carried by the next durable write or a bounded timer.
    Lazy,
    /// In memory only; gone at a restart.
    Volatile,
}

/// What must hold of the key's current version for the write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// No object is there: a create.
    Absent,
    /// This version is there: an update or a delete after a read.
    Revision(u64),
}

/// The change itself.
#[derive(Debug, Clone)]
pub enum Change {
    Put(Draft),
    /// Removes the key; the draft is the object's last state, as watches are told it.
    Delete(Draft),
}

/// One change of one key.
#[derive(Debug, Clone)]
pub struct Write {
    pub key: Key,
    pub tier: Tier,
    pub precondition: Precondition,
    pub change: Change,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// `Precondition::Absent` did not hold.
    #[error("object exists")]
    Exists,
    /// `Precondition::Revision` did not hold: another version is there, or none.
    #[error("object was changed or deleted")]
    Changed,
    #[error("object of {bytes} bytes is too large to be kept")]
    TooLarge { bytes: usize },
    /// The disk is full, or read-only for now; nothing was written, and a later write may find room.
    #[error("store has no room for it")]
    Full(#[source] std::sync::Arc<std::io::Error>),
    /// The disk refused; nothing after it is accepted until a restart, since the log may not have a hole.
    #[error("store cannot write its log")]
    Log(#[source] std::sync::Arc<std::io::Error>),
    #[error("store is closed")]
    Closed,
}
