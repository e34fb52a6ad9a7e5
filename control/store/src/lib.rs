//! The store: every object in memory, every write through one ordered log, watches by revision.
//!
//! Called by the apiserver's pipeline (writes) and by `control/client` (reads). In reading order:
//! [`object`] what is kept, [`write`] what may be asked, [`watch`] what is told, [`store`] the trait that joins them,
//! [`memory`] the state that both stores share and, alone, the in-memory twin, [`durable`] the store that survives:
//! its `queue`, its `writer` thread, the `log` of `record`s with `command`s in them, the `checkpoint` in redb, and
//! `recovery` at a start.
//!
//! Absent on purpose: validation, defaulting, admission (the apiserver's), and typed objects.

mod checkpoint;
mod command;
mod disk;
pub mod durable;
mod log;
pub mod memory;

pub mod object;
mod queue;
mod record;
mod recovery;
pub mod store;
pub mod watch;
pub mod write;
mod writer;

pub use durable::{DurableStore, OpenError};
pub use memory::MemoryStore;
pub use object::{Key, Object};
pub use store::{Listing, Page, Store};
pub use watch::{Event, EventKind, Expired, Watch};
pub use write::{Change, Precondition, Tier, Write, WriteError};
