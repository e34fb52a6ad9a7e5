//! Load balancer addresses on the LAN without a cloud: one node answers ARP for each.
//!
//! The agent's binary starts an [`Announcer`] and tells it of Services, EndpointSlices and nodes, as they come from the
//! server or out of the node's cache; from there on the nodes decide among themselves, with or without a server.
//!
//! Reading order: [`model`] which addresses there are and which nodes could serve them, [`election`] who announces
//! what (pure), [`heartbeat`] what nodes tell each other, [`arp`] frames, [`link`] the sockets on this node's links,
//! [`term`] the time in which there is something to announce, [`announcer`] the task and its door.
//!
//! Absent on purpose: NDP, since the cluster's Services are IPv4; BGP; and any address on the node's own links, which
//! would make the node itself an addressee of what only passes through to pods. Nothing is sent and nothing wakes up
//! while no Service has such an address.

pub mod announcer;
pub mod arp;
pub mod election;
pub mod heartbeat;
pub mod link;
pub mod model;
mod term;

pub use announcer::{Announcer, Config, Error, NodeInfo};
