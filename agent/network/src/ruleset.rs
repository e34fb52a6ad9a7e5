//! The node's nftables table as data. Pure: what it says follows from the ranges and the published ports.

use std::net::Ipv4Addr;

use crate::{
    link::link_prefix,
    network::{Config, PortMapping, Protocol},
    range::Range,
};

const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;
const LOOPBACK: [u8; 4] = [127, 0, 0, 0];
const LOOPBACK_MASK: [u8; 4] = [255, 0, 0, 0];
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;
/// Of the kernel's route types: an address of this machine.
const TYPE_LOCAL: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ruleset {
    pub table: String,
    pub chains: Vec<Chain>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub name: &'static str,
    pub kind: &'static str,
    pub hook: Hook,
    pub priority: i32,
    pub rules: Vec<Vec<Expr>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Prerouting = 0,
    Output = 3,
    Postrouting = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaKey {
    InputName = 6,
    OutputName = 7,
    Layer4Protocol = 16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Network = 1,
    Transport = 2,
}

/// One expression of a rule; a rule goes on while its comparisons hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    Meta { key: MetaKey, register: u32 },
    Payload { base: Base, offset: u32, length: u32, register: u32 },
    AddressType { register: u32 },
    Mask { register: u32, mask: [u8; 4] },
    Compare { register: u32, equal: bool, value: Vec<u8> },
    Load { register: u32, value: Vec<u8> },
    Drop,
    DestinationNat { address: u32, port: u32 },
    Masquerade,
}

impl Expr {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Payload { .. } => "payload",
            Self::AddressType { .. } => "fib",
            Self::Mask { .. } => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Load { .. } | Self::Drop => "immediate",
            Self::DestinationNat { .. } => "nat",
            Self::Masquerade => "masq",
        }
    }
}

pub(crate) fn table_name(node: &str) -> String {
    format!("bramble-{node}")
}

/// `published` are the pods' addresses with the host ports that lead to them.
pub(crate) fn render(config: &Config, published: &[(Ipv4Addr, &[PortMapping])]) -> Ruleset {
    let to_pods: Vec<Vec<Expr>> =
        published.iter().flat_map(|(address, ports)| ports.iter().map(|port| publish(*address, port))).collect();
    let chain = |name, kind, hook, priority, rules| Chain { name, kind, hook, priority, rules };
    Ruleset {
        table: table_name(&config.node),
        chains: vec![
            chain("guard", "filter", Hook::Prerouting, -300, vec![keep_from_loopback(&config.node)]),
            chain("prerouting", "nat", Hook::Prerouting, -100, to_pods.clone()),
            chain("output", "nat", Hook::Output, -100, to_pods),
            chain("postrouting", "nat", Hook::Postrouting, 100, masquerades(config, published)),
        ],
    }
}

/// The pods' links let loopback addresses through for host ports; no pod may send to the node's own loopback.
fn keep_from_loopback(node: &str) -> Vec<Expr> {
    let mut rule = on_pod_link(MetaKey::InputName, node);
    rule.extend(in_loopback(DESTINATION));
    rule.push(Expr::Drop);
    rule
}

fn masquerades(config: &Config, published: &[(Ipv4Addr, &[PortMapping])]) -> Vec<Vec<Expr>> {
    // A pod that reaches itself by its host port would otherwise get packets from its own address.
    let hairpin = |address: Ipv4Addr| {
        let mut rule = address_is(SOURCE, address).to_vec();
        rule.extend(address_is(DESTINATION, address));
        rule.push(Expr::Masquerade);
        rule
    };
    let mut rules: Vec<Vec<Expr>> =
        published.iter().filter(|(_, ports)| !ports.is_empty()).map(|(address, _)| hairpin(*address)).collect();
    let mut from_loopback = on_pod_link(MetaKey::OutputName, &config.node);
    from_loopback.extend(in_loopback(SOURCE));
    from_loopback.push(Expr::Masquerade);
    rules.push(from_loopback);
    let mut outward = within(SOURCE, config.pod_range, true).to_vec();
    outward.extend(within(DESTINATION, config.cluster_range, false));
    outward.push(Expr::Masquerade);
    rules.push(outward);
    rules
}

fn publish(address: Ipv4Addr, port: &PortMapping) -> Vec<Expr> {
    let protocol = match port.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let mut rule = match port.host_ip {
        Some(host_ip) => address_is(DESTINATION, host_ip).to_vec(),
        None => vec![
            Expr::AddressType { register: REGISTER_1 },
            // The kernel keeps this one in its own byte order.
            compare(true, TYPE_LOCAL.to_ne_bytes()),
        ],
    };
    rule.extend([
        Expr::Meta { key: MetaKey::Layer4Protocol, register: REGISTER_1 },
        compare(true, [protocol]),
        Expr::Payload { base: Base::Transport, offset: 2, length: 2, register: REGISTER_1 },
        compare(true, port.host_port.to_be_bytes()),
        Expr::Load { register: REGISTER_1, value: address.octets().to_vec() },
        Expr::Load { register: REGISTER_2, value: port.container_port.to_be_bytes().to_vec() },
        Expr::DestinationNat { address: REGISTER_1, port: REGISTER_2 },
    ]);
    rule
}

/// A comparison shorter than a name matches all names that start so.
fn on_pod_link(key: MetaKey, node: &str) -> Vec<Expr> {
    vec![Expr::Meta { key, register: REGISTER_1 }, compare(true, link_prefix(node).as_bytes())]
}

fn in_loopback(offset: u32) -> [Expr; 3] {
    [load_address(offset), Expr::Mask { register: REGISTER_1, mask: LOOPBACK_MASK }, compare(true, LOOPBACK)]
}

fn within(offset: u32, range: Range, inside: bool) -> [Expr; 3] {
    let mask = Expr::Mask { register: REGISTER_1, mask: range.mask().to_be_bytes() };
    [load_address(offset), mask, compare(inside, range.base().octets())]
}

fn address_is(offset: u32, address: Ipv4Addr) -> [Expr; 2] {
    [load_address(offset), compare(true, address.octets())]
}

fn load_address(offset: u32) -> Expr {
    Expr::Payload { base: Base::Network, offset, length: 4, register: REGISTER_1 }
}

fn compare(equal: bool, value: impl AsRef<[u8]>) -> Expr {
    Expr::Compare { register: REGISTER_1, equal, value: value.as_ref().to_vec() }
}
