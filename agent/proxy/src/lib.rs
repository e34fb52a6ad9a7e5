//! Services of Bramble's node agent, as nftables maps.
//!
//! The agent's binary calls `Proxy::start` once, tells it all Services and EndpointSlices, calls `release`, and then
//! tells it each change; `Proxy::teardown` at `bramble-agent stop`. A Service costs a packet the same however many
//! there are, and a change costs the kernel only the map elements that differ.
//!
//! Reading order: `config`, `service` and `endpoints` (objects as packets see them), `front` (what each address and
//! port leads to), `shape` and `ruleset` (chains and sets), `state` (the difference to what is in the kernel),
//! `inbox` (what has changed), `engine` (one change of the kernel; `affinity` and `flows` are what follows from it),
//! `health` (health checks), `proxy` (the task that does it all).
//!
//! Absent on purpose: IPv6; SCTP, which the API refuses; headless and ExternalName Services, which are the DNS's;
//! weights and topology; routes, which are agent/network's.

mod affinity;
mod config;
mod endpoints;
mod engine;
mod error;
mod flows;
mod front;
mod health;
mod inbox;
mod proxy;
mod ruleset;
mod service;
mod shape;
mod state;

pub use config::Config;
pub use error::Error;
pub use proxy::Proxy;
