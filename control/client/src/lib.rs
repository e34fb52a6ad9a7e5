//! What controllers, scheduler and the nodes' side see of the cluster and write through.
//!
//! [`client`] reads the store's memory directly and writes through the apiserver's pipeline, so that validation,
//! admission and managedFields hold for them too. [`view`] parses an object into a typed, read-only struct that is
//! dropped after use.

pub mod client;
pub mod view;

pub use client::{Client, Patch};
pub use control_apiserver::{DeleteOptions, Preconditions, Propagation};
pub use control_store::{Event, EventKind, Expired, Listing, Object, Watch};
pub use view::view;
