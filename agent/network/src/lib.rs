//! Pod networking of Bramble's node agent, by netlink.
//!
//! Every pod has a routed veth and one /32 address of its node's range; there is no bridge. The agent's
//! binary calls `Network::setup` once at its start, `attach` and `detach` as pods come and go, `reconcile`
//! after a restart, and `Network::teardown` at `bramble-agent stop`.
//!
//! Reading order: `range` (addresses of a node), `leases` (which pod has which), `netns` (work inside a
//! network namespace), `link` (veths, addresses and routes), `ruleset` (the nftables table as data),
//! `nft` (its encoding and atomic apply), `network` (all of them together).
//!
//! Absent on purpose: no program is executed; no bridge, so that nothing depends on br_netfilter; Services are
//! the proxy's matter.

mod leases;
mod link;
mod netns;
mod network;
mod nft;
mod range;
mod ruleset;

pub use network::{Config, Error, Network, PodNetwork, PortMapping, Protocol};
pub use range::{Range, RangeError};
