//! What the kernel has to have, from what it has and what is wished. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use control_api::Ipv4Range;

use crate::{
    link::link_prefix,
    network::{Config, Error},
    pod_range,
    state::{AddressState, LinkState, Mac, RouteState, State},
};

/// The protocol number of the routes that are ours; others are never touched.
pub(crate) const PROTOCOL: u8 = 66;
/// Inner Ethernet, outer IPv4, UDP and VXLAN headers.
pub(crate) const OVERLAY_BYTES: u32 = 50;
const MTU_DEFAULT: u32 = 1500;
/// Nodes whose pods are routed to.
const PEERS_MAX: usize = 5000;
const METRIC: u32 = 1000;
/// Links that serve this machine alone, by how programs name them.
const MACHINE_LINKS: [&str; 6] = ["docker", "br-", "virbr", "veth", "cni", "flannel"];

/// Another node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    /// Where its pods are.
    pub pod_range: Ipv4Range,
    /// Its own addresses, the one that all nodes reach first.
    pub addresses: Vec<Ipv4Addr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hop {
    Link(u32),
    Overlay,
}

/// A route as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub hop: Hop,
    pub gateway: Option<Ipv4Addr>,
    pub source: Option<Ipv4Addr>,
    pub mtu: Option<u32>,
}

/// The link to nodes on other networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overlay {
    pub mtu: u32,
    /// By next hop.
    pub neighbours: BTreeMap<Ipv4Addr, Mac>,
    /// To which machine.
    pub forwarding: BTreeMap<Mac, Ipv4Addr>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub routes: BTreeMap<Ipv4Range, Route>,
    pub overlay: Option<Overlay>,
    pub pod_mtu: u32,
    /// Peers that no route can be made for, and why.
    pub refused: Vec<String>,
}

/// The overlay's link: no pod's, which have 8 digits.
pub(crate) fn overlay_name(node: &str) -> String {
    format!("{}-vx", link_prefix(node))
}

/// Tells the routes of several agents in one namespace apart.
pub(crate) fn metric(node: &str) -> u32 {
    METRIC + node.get(..3).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// Both sides derive it from the node's range, so that nobody has to ask.
pub(crate) fn overlay_mac(pod_range: Ipv4Range) -> Mac {
    let [a, b, c, d] = pod_range.base().octets();
    [0x0e, 0x42, a, b, c, d]
}

/// Whether a link belongs to a Bramble node, this one or another.
fn is_bramble(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("br") else { return false };
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match rest.split_at_checked(5) {
        Some((node, "-vx")) => hex(node),
        Some((node, pod)) => hex(node) && pod.len() == 8 && hex(pod),
        None => false,
    }
}

fn default_route(state: &State) -> Option<&RouteState> {
    state.routes.iter().filter(|route| route.destination.prefix_len() == 0).min_by_key(|route| route.metric)
}

/// The node's addresses on networks it shares with others, that of the default route first.
fn lan(state: &State) -> Vec<(&AddressState, &LinkState)> {
    let shared = |address: &AddressState| {
        let link = state.links.get(&address.link)?;
        let machine = MACHINE_LINKS.iter().any(|prefix| link.name.starts_with(prefix)) || is_bramble(&link.name);
        (link.lan && address.global && !machine).then_some(link)
    };
    let mut found: Vec<_> =
        state.addresses.iter().filter_map(|address| shared(address).map(|link| (address, link))).collect();
    let outward = default_route(state);
    let rank = |address: &AddressState| match outward {
        Some(route) if route.source == Some(address.address) => 0,
        Some(route) if route.link == address.link => 1,
        _ => 2,
    };
    found.sort_by_key(|(address, _)| (rank(address), address.link));
    found
}

pub(crate) fn lan_addresses(state: &State) -> Vec<Ipv4Addr> {
    lan(state).iter().map(|(address, _)| address.address).collect()
}

/// Where the node's packets to the world go; a change of it may mean another network.
pub(crate) fn way_out(state: &State) -> Option<(u32, Option<Ipv4Addr>)> {
    default_route(state).map(|route| (route.link, route.gateway))
}

/// No range of the cluster may lie on a network that the node is in, be it one of the machine's own.
pub(crate) fn check_overlap(config: &Config, state: &State) -> Result<(), Error> {
    for address in state.addresses.iter().filter(|address| address.global) {
        let Some(link) = state.links.get(&address.link).filter(|link| link.up && link.name != "lo") else { continue };
        if is_bramble(&link.name) {
            continue;
        }
        let prefix = Ipv4Range::new(address.address, address.prefix_len);
        for (what, range) in [("pod range", config.cluster_range), ("service range", config.service_range)] {
            if prefix.overlaps(range) {
                return Err(Error::Overlap { what, range, prefix, link: link.name.clone() });
            }
        }
    }
    Ok(())
}

/// The MTU of pods' links: that of the link to the world, else of the first LAN.
pub(crate) fn pod_mtu(config: &Config, state: &State) -> u32 {
    let outward = || default_route(state).and_then(|route| state.links.get(&route.link)).map(|link| link.mtu);
    let shared = || lan(state).first().map(|(_, link)| link.mtu);
    config.mtu.or_else(outward).or_else(shared).unwrap_or(MTU_DEFAULT)
}

/// `peers` are absent until somebody names them: what an earlier agent made for them stays meanwhile.
pub(crate) fn plan(config: &Config, state: &State, peers: Option<&[Peer]>) -> Plan {
    let mut plan = Plan { pod_mtu: pod_mtu(config, state), ..Plan::default() };
    for peer in peers.unwrap_or_default().iter().take(PEERS_MAX) {
        place(config, state, peer, &mut plan);
    }
    if default_route(state).is_none() {
        // Whoever asks for a Service needs some way to it, before its address is translated.
        if let Some((lo, _)) = state.link("lo") {
            let source = lan_addresses(state).first().copied().unwrap_or(pod_range::gateway(config.pod_range));
            let route = Route { hop: Hop::Link(lo), gateway: None, source: Some(source), mtu: None };
            plan.routes.insert(config.service_range, route);
        }
    }
    plan
}

fn place(config: &Config, state: &State, peer: &Peer, plan: &mut Plan) {
    let range = peer.pod_range;
    if range == config.pod_range {
        return;
    }
    let inside = config.cluster_range.contains(range.base()) && range.prefix_len() >= config.cluster_range.prefix_len();
    if !inside || range.overlaps(config.pod_range) || plan.routes.keys().any(|taken| taken.overlaps(range)) {
        plan.refused.push(format!("node {} has the pod range {range}, which is not its own", peer.name));
        return;
    }
    let own: BTreeSet<Ipv4Addr> = state.addresses.iter().map(|held| held.address).collect();
    let Some(primary) = peer.addresses.first() else { return };
    // A node in this very namespace: its pods' own routes are here.
    if own.contains(primary) {
        return;
    }
    let shared = lan(state);
    let on_link = |address: &Ipv4Addr| {
        let near = |held: &AddressState| Ipv4Range::new(held.address, held.prefix_len).contains(*address);
        shared.iter().find(|(held, _)| held.prefix_len < 32 && near(held)).map(|(held, _)| held.link)
    };
    let others = peer.addresses.iter().filter(|address| !own.contains(address));
    if let Some((address, link)) = others.clone().find_map(|address| Some((*address, on_link(address)?))) {
        let route = Route { hop: Hop::Link(link), gateway: Some(address), source: None, mtu: None };
        plan.routes.insert(range, route);
    } else if let Some((address, mtu)) = others.clone().find_map(|address| Some((*address, way(state, *address)?))) {
        let mtu = mtu.saturating_sub(OVERLAY_BYTES);
        let overlay = plan.overlay.get_or_insert_default();
        overlay.mtu = overlay.mtu.max(mtu);
        overlay.neighbours.insert(pod_range::gateway(range), overlay_mac(range));
        overlay.forwarding.insert(overlay_mac(range), address);
        let source = Some(pod_range::gateway(config.pod_range));
        plan.routes.insert(
            range,
            Route { hop: Hop::Overlay, gateway: Some(pod_range::gateway(range)), source, mtu: Some(mtu) },
        );
    }
}

/// The MTU of the link that leads to an address.
fn way(state: &State, address: Ipv4Addr) -> Option<u32> {
    let leads = state.routes.iter().filter(|route| route.protocol != PROTOCOL && route.destination.contains(address));
    let best = leads.max_by_key(|route| (route.destination.prefix_len(), u32::MAX - route.metric))?;
    state.links.get(&best.link).filter(|link| link.up).map(|link| link.mtu)
}

#[cfg(test)]
mod tests;
