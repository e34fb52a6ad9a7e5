//! The server's side of every node's session: joins, desired state out, status in, log and exec streams.
//!
//! Started by the server's bin; the apiserver reaches nodes through its `NodeStreams` trait, which [`nodes::Nodes`]
//! fulfils. In reading order: [`nodes`] the part and its sessions, [`admission`] certificates for them, [`pending`]
//! machines that wait for a person's word, [`registration`] a greeting made a Node object, [`range`] its pod range,
//! [`removal`] its end; [`desired`] which objects each node needs, [`shared`] what every node is told, [`broadcast`] its
//! newest state for all sessions, [`dispatch`] the one task that watches for all nodes, [`outbox`] what waits for one
//! node; [`report`] status on its way in, [`status`] how it is merged, [`event`] Events of nodes, [`heartbeat`] their Leases, [`silence`] nodes that
//! stopped reporting; [`streams`] logs and exec, [`token`] tokens for pods, [`documents`] what the command line asks.
//!
//! Absent on purpose: taints and eviction of silent nodes (the node lifecycle controller's, from the Node object),
//! and any queue that grows with a slow node.

pub mod admission;
pub mod broadcast;
pub mod desired;
pub mod dispatch;
pub mod documents;
pub mod event;
pub mod heartbeat;
mod mirror;
pub mod nodes;
pub mod outbox;
pub mod pending;
pub mod range;
pub mod registration;
pub mod removal;
pub mod report;
pub mod shared;
pub mod silence;
pub mod status;
pub mod streams;
pub mod token;

pub use nodes::{Nodes, NodesConfig};
