//! The cluster DNS of one node: names of Services and pods from the node's own memory, all others from its upstreams.
//!
//! The agent feeds Services and EndpointSlices into [`Dns`]; containers on the node ask its address. In reading order:
//! [`config`]; [`message`] the wire format; [`zone`] what the cluster's names mean, after the Kubernetes DNS
//! specification 1.1 and CoreDNS where it is silent; [`respond`] one query's way to its answer; [`server`] sockets;
//! [`forward`] upstreams, with [`resolv_conf`] for who they are; [`cache`] their answers; [`metrics`]; [`dns`] the whole.
//!
//! Nothing here waits for the control plane, and nothing wakes up at idle.
//!
//! Absent on purpose: DNSSEC validation (upstreams do it, and DO and CD are passed on), zone transfers, IPv6 addresses of
//! the cluster's own (it has none), and a library for the wire format: what we need of it is smaller than the parts of
//! internationalised names that one would bring along.

pub mod cache;
pub mod config;
pub mod dns;
pub mod forward;
#[cfg(any(fuzzing, debug_assertions))]
pub mod fuzzing;
pub mod message;
pub mod metrics;
pub mod resolv_conf;
pub mod respond;
pub mod server;
pub mod zone;

pub use config::{Config, Error};
pub use dns::Dns;
pub use metrics::Metrics;
