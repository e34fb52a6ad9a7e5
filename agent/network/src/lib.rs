//! Pod networking of Bramble's node agent, by netlink.
//!
//! Every pod has a routed veth and one /32 address of its node's range; there is no bridge. The agent's
//! binary calls `Network::setup` once at its start, `attach` and `detach` as pods come and go, `set_peers` at
//! every change of the cluster's nodes, `reconcile` after a restart, and `Network::teardown` at
//! `bramble-agent stop`. Nodes on one LAN route to each other's pods directly, others through VXLAN.
//!
//! Reading order: `pod_range` (what a node does with its addresses), `leases` (which pod has which), `netns` (work inside a
//! network namespace), `link` (veths, addresses and routes), `ruleset` (the nftables table as data,
//! which `agent/nft` encodes and sends), `network` (all of them together). What the kernel has is read by
//! `state`, compared by `plan` (pure) and changed by `mend`; `watch` says when it is time to, `upkeep` does it.
//! `kernel` names modules that are lacking. `policy` makes the table of NetworkPolicies (pure), `policing` keeps it in force.
//!
//! Absent on purpose: no program is executed; no bridge, so that nothing depends on br_netfilter; Services are
//! the proxy's matter.

mod fingerprint;
mod foreign;
mod kernel;
mod leases;
mod link;
mod mend;
mod netns;
mod network;
mod plan;
mod pod_range;
mod policing;
mod policy;
mod ruleset;
mod state;
mod upkeep;
mod watch;

pub use foreign::foreign_drops;
pub use kernel::missing_modules;
pub use network::{Config, Error, Network, PodNetwork, PortMapping, Protocol, VXLAN_ID, VXLAN_PORT};
pub use plan::Peer;
pub use policy::{Identity, NamedPort, PolicyPod};
