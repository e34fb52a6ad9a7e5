//! The Kubernetes API: decode -> route -> authenticate -> authorize -> admit -> store -> respond.
//!
//! Called over HTTPS by clients, and through [`Api::call`] by `control/client`, which enters the same pipeline after
//! HTTP decoding.

pub mod api;
pub mod call;
pub mod node;

pub use api::Api;
pub use call::{Call, DeleteOptions, PatchKind, Preconditions, Propagation, Reply, User, Verb, WriteOptions};
pub use node::{ExecStreams, NodeStreams};
