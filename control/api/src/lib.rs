//! Bramble's object model: everything that can be known about a Kubernetes object without doing I/O.
//!
//! Called by every other crate. In reading order:
//! [`resource`] the table of kinds served, [`meta`] the parsed metadata kept beside an object's bytes,
//! [`draft`] an object on its way into the store, [`lease`] one that is only renewed, [`selector`] label and field selectors, [`quantity`],
//! [`object`] reading fields of raw JSON, [`image`] names and platforms of images, [`name`] the syntax of names, [`ip`] of addresses and
//! ranges, [`qos`] a pod's class of service, [`defaults`] what is filled in, [`strategy`] what the server itself decides,
//! [`service`] what a Service is given (addresses, ports, families) and what it keeps,
//! [`validate`] what is refused, [`scale`] and [`table`] other shapes of an object,
//! [`status`] the errors a client sees, [`stream`] what is asked of a node for logs, exec and the like,
//! [`raw`] its bytes in a frame; [`usage`] what nodes and pods use; [`decode`] bodies to values, [`schema`] what is known of every field (pruning, strategic merge), [`openapi`] the same as documents;
//! [`view`] typed structs of the kinds, read-only, with the fields that Bramble reads.
//!
//! Absent on purpose: whole typed structs for the kinds (objects are JSON), I/O and tokio.

pub mod decode;
pub mod defaults;
pub mod draft;
pub mod field;
pub mod image;
pub mod ip;
pub mod lease;
pub mod local_path;
pub mod meta;
pub mod name;
pub mod object;
pub mod openapi;
pub mod qos;
pub mod quantity;
pub mod raw;
pub mod resource;
pub mod scale;
pub mod schema;
pub mod selector;
pub mod service;
pub mod status;
pub mod strategy;
pub mod stream;
pub mod table;
pub mod usage;
pub mod validate;
pub mod view;

pub use draft::Draft;
pub use field::{FieldError, FieldErrorKind};
pub use ip::{Cidr, Ipv4Range};
pub use meta::{Meta, OwnerReference};
pub use quantity::Quantity;
pub use resource::{Resource, Scope};
pub use selector::{FieldSelector, LabelSelector};
pub use status::{Reason, Status};
