//! Bramble's object model: everything that can be known about a Kubernetes object without doing I/O.
//!
//! Called by every other crate. In reading order:
//! [`resource`] the table of kinds served, [`meta`] the parsed metadata kept beside an object's bytes,
//! [`draft`] an object on its way into the store, [`selector`] label and field selectors, [`quantity`],
//! [`object`] reading fields of raw JSON, [`name`] the syntax of names, [`qos`] a pod's class of service, [`defaults`] what is filled in, [`strategy`] what the server itself decides,
//! [`validate`] what is refused, [`scale`] and [`table`] other shapes of an object,
//! [`status`] the errors a client sees, [`stream`] what is asked of a node for logs and exec; [`decode`] bodies to
//! values, [`schema`] what is known of every field (pruning, strategic merge), [`openapi`] the same as documents.
//!
//! Absent on purpose: typed structs for the kinds (k8s-openapi has them, as read-only views), I/O and tokio.

pub mod decode;
pub mod defaults;
pub mod draft;
pub mod field;
pub mod meta;
pub mod name;
pub mod object;
pub mod openapi;
pub mod qos;
pub mod quantity;
pub mod resource;
pub mod scale;
pub mod schema;
pub mod selector;
pub mod status;
pub mod strategy;
pub mod stream;
pub mod table;
pub mod validate;

pub use draft::Draft;
pub use field::{FieldError, FieldErrorKind};
pub use meta::{Meta, OwnerReference};
pub use quantity::Quantity;
pub use resource::{Resource, Scope};
pub use selector::{FieldSelector, LabelSelector};
pub use status::{Reason, Status};
