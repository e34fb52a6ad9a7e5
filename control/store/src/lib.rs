//! The store: every object in memory, every write through one ordered log, watches by revision.
//!
//! Called by the apiserver's pipeline (writes) and by `control/client` (reads). In reading order:
//! [`object`] what is kept, [`write`] what may be asked, [`watch`] what is told, [`store`] the trait that joins them,
//! [`memory`] the state that both stores share and, alone, the in-memory twin.
//!
//! Absent on purpose: validation, defaulting, admission (the apiserver's), and typed objects.

pub mod memory;
pub mod object;
pub mod store;
pub mod watch;
pub mod write;

pub use memory::MemoryStore;
pub use object::{Key, Object};
pub use store::{Listing, Page, Store};
pub use watch::{Event, EventKind, Expired, Watch};
pub use write::{Change, Precondition, Tier, Write, WriteError};
