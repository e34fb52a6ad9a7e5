//! What controllers, scheduler and the nodes' side see of the cluster and write through.
//!
//! [`client`] reads the store's memory directly and writes through the apiserver's pipeline, so that validation,
//! admission and managedFields hold for them too. [`view`] parses an object into a typed, read-only struct that is
//! dropped after use. [`index`] finds objects by owner, pods by node and Services by a pod's labels without listing. [`feed`] is one task that
//! turns watches into one stream of events, [`queue`] holds what is to be done about them, and [`recorder`] writes
//! Events, counting repeats.
//!
//! [`placement`] and [`volume`] say where a pod or a volume may be, and which volume suits a claim.
//!
//! Absent on purpose: caches. Reads see the store's memory, which holds every write as soon as it is answered, so no
//! controller needs to remember what it did (Kubernetes' "expectations") or to wait for an informer to catch up.

pub mod client;
pub mod feed;
pub mod index;
pub mod placement;
pub mod queue;
pub mod recorder;
pub mod view;
pub mod volume;

pub use client::{Client, Patch};
pub use control_api::{Reason, Resource, Status};
pub use control_apiserver::{Api, DeleteOptions, Preconditions, Propagation, User};
pub use control_store::{Event, EventKind, Expired, Key, Listing, Object, Watch};
pub use feed::{Feed, News};
pub use index::Index;
pub use queue::Queue;
pub use recorder::{About, EventType, Recorder};
pub use view::view;
