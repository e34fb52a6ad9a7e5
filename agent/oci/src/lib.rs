//! Image pull, verification and snapshots of Bramble's node agent.
//!
//! The agent's binary opens one [`Images`] on the data folder; pods pull through it, take an [`Image`]'s
//! configuration from it, and mount root filesystems by [`Snapshots`]. `bramble-agent image` opens its own
//! beside a running agent: all state is on disk, guarded by file locks.
//!
//! Reading order: `control_api::image` and `manifest` (what is asked for), `registry` (where it comes
//! from), `store` (where it is kept), `unpack` (how a layer becomes a folder), `images` (pull, import,
//! list, remove, prune, and which platforms a registry has an image for), `snapshot` (overlay mounts), `user` (names to ids inside a root).
//!
//! Absent on purpose: no push, no build; no layer blob is kept after it is unpacked, since cards are small.

mod archive;
mod credentials;
mod error;
#[cfg(any(fuzzing, debug_assertions))]
pub mod fuzzing;
mod image;
mod images;
mod manifest;
mod registry;
mod snapshot;
mod store;
mod unpack;
mod user;

pub use control_api::image::{Platform, Reference, ReferenceError};
pub use credentials::{Credential, Credentials, CredentialsError};
pub use error::{ImportError, OpenError, PullError, PullReason, StoreError};
pub use image::{Image, ImageConfig};
pub use images::{Config, Images, Limits, PlatformsError, Progress, Pruned, RegistryConfig};
pub use snapshot::{OwnIds, SnapshotError, Snapshots};
pub use user::{UserError, UserIds, resolve_user};
