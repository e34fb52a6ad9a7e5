//! The server's side of every node's session: joins, desired state out, status in, log and exec streams.
//!
//! Started by the server's bin; the apiserver reaches nodes through its `NodeStreams` trait, which [`nodes::Nodes`]
//! fulfils. In reading order: [`nodes`] the part and its sessions, [`registration`] a greeting made a Node object,
//! [`range`] its pod range, [`desired`] which objects each node needs, [`dispatch`] the one task that watches for
//! all nodes, [`outbox`] what waits for one node, [`report`] status on its way in, [`status`] how it is merged,
//! [`event`] Events of nodes, [`silence`] nodes that stopped reporting, [`streams`] logs and exec.
//!
//! Absent on purpose: taints and eviction of silent nodes (the node lifecycle controller's, from the Node object),
//! and any queue that grows with a slow node.

pub mod desired;
pub mod dispatch;
pub mod event;
pub mod nodes;
pub mod outbox;
pub mod range;
pub mod registration;
pub mod report;
pub mod silence;
pub mod status;
pub mod streams;

pub use nodes::{Nodes, NodesConfig};
