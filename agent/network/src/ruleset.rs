//! The node's nftables table as data. Pure: what it says follows from the ranges and the published ports.

use std::{collections::BTreeSet, net::Ipv4Addr};

use agent_nft::{
    Base, Chain, ChainKind, Element, End, Expr, Hook, HookPoint, MetaKey, REGISTER_1, REGISTER_2, Ruleset, Set, Type,
    Value, Verdict, bytes,
};

use control_api::Ipv4Range;

use crate::{
    link::link_prefix,
    network::{Config, PortMapping, Protocol},
    plan::overlay_name,
};

const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 0);
const LOOPBACK_PREFIX_LEN: u8 = 8;

/// Addresses of the other nodes.
const NODES: &str = "nodes";
/// Where the guard sends what came by a link of ours.
const FROM_POD: &str = "from-pod";

pub(crate) fn table_name(node: &str) -> String {
    format!("bramble-{node}")
}

/// `published` are the pods' addresses with the host ports that lead to them, `nodes` the addresses of the other
/// nodes, where they are known.
pub(crate) fn render(
    config: &Config,
    published: &[(Ipv4Addr, &[PortMapping])],
    nodes: Option<&BTreeSet<Ipv4Addr>>,
) -> Ruleset {
    let publish = |(address, ports): &(Ipv4Addr, &[PortMapping])| -> Vec<Vec<Expr>> {
        ports.iter().map(|port| publish(config, *address, port)).collect()
    };
    let to_pods: Vec<Vec<Expr>> = published.iter().flat_map(publish).collect();
    let chain =
        |name: &'static str, kind, point, priority, rules| Chain::base(name, Hook { kind, point, priority }, rules);
    let mut guard = vec![from_pods(&config.node)];
    let mut sets = Vec::new();
    if let Some(nodes) = nodes {
        let elements = nodes.iter().map(|node| Element::new(&[Value::Address(*node)])).collect();
        sets.push((Set::new(NODES, [Type::Address]), elements));
        guard.push(keep_strangers_out(config));
    }
    Ruleset {
        table: table_name(&config.node),
        sets,
        chains: vec![
            chain("guard", ChainKind::Filter, HookPoint::Prerouting, -300, guard),
            Chain::named(
                FROM_POD,
                vec![keep_from_lying(&config.node), keep_from_loopback(), keep_from_overlay(config)],
            ),
            chain("prerouting", ChainKind::Nat, HookPoint::Prerouting, -100, to_pods.clone()),
            chain("output", ChainKind::Nat, HookPoint::Output, -100, to_pods),
            chain("postrouting", ChainKind::Nat, HookPoint::Postrouting, 100, masquerades(config, published)),
        ],
    }
}

/// Every packet of every connection is guarded, so what comes by none of our links skips their rules after one
/// comparison.
fn from_pods(node: &str) -> Vec<Expr> {
    let mut rule = on_pod_link(MetaKey::InputName, node);
    rule.push(Expr::goto(FROM_POD));
    rule
}

/// A pod sends from its own address only. The links' own filter for it gives way where the machine's is loose.
fn keep_from_lying(node: &str) -> Vec<Expr> {
    vec![
        // That of the overlay brings other nodes' pods, some of which may be on their way to a direct route.
        Expr::Meta { key: MetaKey::InputName, register: REGISTER_1 },
        Expr::differs(bytes(&[Value::LinkName(&overlay_name(node))])),
        Expr::WayBack { register: REGISTER_1 },
        Expr::equals([0; 4]),
        Expr::Verdict(Verdict::Drop),
    ]
}

/// The pods' links let loopback addresses through for host ports; no pod may send to the node's own loopback.
fn keep_from_loopback() -> Vec<Expr> {
    let mut rule = in_loopback(End::Destination).to_vec();
    rule.push(Expr::Verdict(Verdict::Drop));
    rule
}

/// Packets between nodes are packed by nodes, not by pods.
fn keep_from_overlay(config: &Config) -> Vec<Expr> {
    let mut rule = is_packed(config);
    rule.push(Expr::Verdict(Verdict::Drop));
    rule
}

/// Nobody but a node of the cluster puts packets among its pods.
fn keep_strangers_out(config: &Config) -> Vec<Expr> {
    let mut rule = is_packed(config);
    rule.extend([
        Expr::address(End::Source, REGISTER_1),
        Expr::Lookup { set: NODES.into(), register: REGISTER_1, within: false },
        Expr::Verdict(Verdict::Drop),
    ]);
    rule
}

/// VXLAN of this cluster's identifier; others may share the port.
fn is_packed(config: &Config) -> Vec<Expr> {
    let [_, identifier @ ..] = config.vxlan_id.to_be_bytes();
    let mut rule = Expr::protocol_is(17).to_vec();
    rule.extend([
        Expr::destination_port(REGISTER_1),
        Expr::equals(config.vxlan_port.to_be_bytes()),
        // After UDP's 8 bytes and the flags.
        Expr::Payload { base: Base::Transport, offset: 12, length: 3, register: REGISTER_1 },
        Expr::equals(identifier),
    ]);
    rule
}

fn masquerades(config: &Config, published: &[(Ipv4Addr, &[PortMapping])]) -> Vec<Vec<Expr>> {
    // A pod that reaches itself by its host port would otherwise get packets from its own address.
    let hairpin = |address: Ipv4Addr| {
        let mut rule = Expr::address_is(End::Source, address).to_vec();
        rule.extend(Expr::address_is(End::Destination, address));
        rule.push(Expr::Masquerade);
        rule
    };
    let mut rules: Vec<Vec<Expr>> =
        published.iter().filter(|(_, ports)| !ports.is_empty()).map(|(address, _)| hairpin(*address)).collect();
    let mut from_loopback = on_pod_link(MetaKey::OutputName, &config.node);
    from_loopback.extend(in_loopback(End::Source));
    from_loopback.push(Expr::Masquerade);
    rules.push(from_loopback);
    let mut outward = within(End::Source, config.pod_range, true).to_vec();
    outward.extend(within(End::Destination, config.cluster_range, false));
    outward.push(Expr::Masquerade);
    rules.push(outward);
    rules
}

fn publish(config: &Config, address: Ipv4Addr, port: &PortMapping) -> Vec<Expr> {
    let protocol = match port.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let mut rule = match port.host_ip {
        Some(host_ip) => Expr::address_is(End::Destination, host_ip).to_vec(),
        None => {
            let mut local = Expr::address_is_local(End::Destination).to_vec();
            // The address of the cluster's DNS is the node's own too, but no pod's.
            local.extend(within(End::Destination, config.service_range, false));
            local
        }
    };
    rule.extend(Expr::protocol_is(protocol));
    rule.extend([
        Expr::destination_port(REGISTER_1),
        Expr::equals(port.host_port.to_be_bytes()),
        Expr::Load { register: REGISTER_1, value: address.octets().to_vec() },
        Expr::Load { register: REGISTER_2, value: port.container_port.to_be_bytes().to_vec() },
        Expr::DestinationNat { address: REGISTER_1, port: REGISTER_2 },
    ]);
    rule
}

/// A comparison shorter than a name matches all names that start so.
fn on_pod_link(key: MetaKey, node: &str) -> Vec<Expr> {
    vec![Expr::Meta { key, register: REGISTER_1 }, Expr::equals(link_prefix(node))]
}

fn in_loopback(end: End) -> [Expr; 3] {
    Expr::address_within(end, LOOPBACK, LOOPBACK_PREFIX_LEN, true)
}

fn within(end: End, range: Ipv4Range, inside: bool) -> [Expr; 3] {
    Expr::address_within(end, range.base(), range.prefix_len(), inside)
}
