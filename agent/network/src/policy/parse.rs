use control_api::selector::LabelSelector;
use control_api::view::{
    IntOrString,
    meta::LabelSelector as Selector,
    networking::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
};

use super::ranges::{Span, block, merged};
use control_api::Ipv4Range;

/// A policy that can be asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    pub namespace: String,
    pub name: String,
    pub pods: LabelSelector,
    /// Absent: it says nothing of this direction; empty: it lets nothing through.
    pub ingress: Option<Vec<Rule>>,
    pub egress: Option<Vec<Rule>>,
}

/// What is let through: a peer that matches, on a port that does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    /// Absent: everybody.
    pub peers: Option<Peers>,
    /// Absent: every port of every protocol.
    pub ports: Option<Ports>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Peers {
    pub pods: Vec<PodPeer>,
    pub blocks: Vec<Span<u32>>,
}

/// Pods whose namespace and labels match.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PodPeer {
    /// Absent: the policy's own namespace.
    pub namespaces: Option<LabelSelector>,
    pub pods: LabelSelector,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ports {
    pub numbers: Vec<(u8, Span<u16>)>,
    pub names: Vec<(u8, String)>,
}

const PROTOCOLS: [(&str, u8); 3] = [("TCP", 6), ("UDP", 17), ("SCTP", 132)];

/// None where the object has no name or a selector that cannot be read, which the server does not let in.
pub(crate) fn parse(policy: &NetworkPolicy) -> Option<Policy> {
    let spec = policy.spec.clone().unwrap_or_default();
    let types = spec.policy_types.filter(|types| !types.is_empty());
    let has = |kind: &str, usual: bool| types.as_ref().map_or(usual, |types| types.iter().any(|found| found == kind));
    let (ingress, egress) = (has("Ingress", true), has("Egress", spec.egress.is_some()));
    let ingress = ingress.then(|| spec.ingress.unwrap_or_default());
    let egress = egress.then(|| spec.egress.unwrap_or_default());
    let ingress = ingress.map(|rules| rules.into_iter().map(|rule| parse_rule(rule.from, rule.ports)).collect());
    let egress = egress.map(|rules| rules.into_iter().map(|rule| parse_rule(rule.to, rule.ports)).collect());
    Some(Policy {
        namespace: policy.metadata.namespace.clone()?,
        name: policy.metadata.name.clone()?,
        pods: selector(spec.pod_selector.as_ref())?,
        ingress,
        egress,
    })
}

/// An absent selector selects all.
fn selector(selector: Option<&Selector>) -> Option<LabelSelector> {
    let Some(selector) = selector else { return Some(LabelSelector::default()) };
    LabelSelector::from_value(&serde_json::to_value(selector).ok()?).ok()
}

fn parse_rule(peers: Option<Vec<NetworkPolicyPeer>>, ports: Option<Vec<NetworkPolicyPort>>) -> Rule {
    Rule {
        peers: peers.filter(|peers| !peers.is_empty()).map(|peers| parse_peers(&peers)),
        ports: ports.filter(|ports| !ports.is_empty()).map(|ports| parse_ports(&ports)),
    }
}

/// What cannot be read matches nobody.
fn parse_peers(peers: &[NetworkPolicyPeer]) -> Peers {
    let mut found = Peers::default();
    for peer in peers {
        if let Some(range) = &peer.ip_block {
            found.blocks.extend(parse_block(range).unwrap_or_default());
        } else if peer.pod_selector.is_some() || peer.namespace_selector.is_some() {
            let namespaces = peer.namespace_selector.as_ref().map(|found| selector(Some(found)));
            if let (Some(pods), None | Some(Some(_))) = (selector(peer.pod_selector.as_ref()), &namespaces) {
                found.pods.push(PodPeer { namespaces: namespaces.flatten(), pods });
            }
        }
    }
    found.blocks = merged(found.blocks);
    found
}

/// None for a block of IPv6, which no pod speaks.
fn parse_block(range: &IPBlock) -> Option<Vec<Span<u32>>> {
    let except: Vec<Ipv4Range> = range.except.iter().flatten().filter_map(|except| except.parse().ok()).collect();
    Some(block(range.cidr.parse().ok()?, &except))
}

fn parse_ports(ports: &[NetworkPolicyPort]) -> Ports {
    let mut found = Ports::default();
    for port in ports {
        let name = port.protocol.as_deref().unwrap_or("TCP");
        let Some((_, protocol)) = PROTOCOLS.iter().find(|(known, _)| *known == name) else { continue };
        let number = |number: i32| u16::try_from(number).ok();
        match &port.port {
            None => found.numbers.push((*protocol, (0, u16::MAX))),
            Some(IntOrString::String(name)) => found.names.push((*protocol, name.clone())),
            Some(IntOrString::Int(first)) => {
                let last = port.end_port.map_or(number(*first), number);
                if let (Some(first), Some(last)) = (number(*first), last)
                    && first <= last
                {
                    found.numbers.push((*protocol, (first, last)));
                }
            }
        }
    }
    let of = |protocol: u8| {
        let spans = found.numbers.iter().filter(move |(of, _)| *of == protocol).map(|(_, span)| *span);
        merged(spans).into_iter().map(move |span| (protocol, span))
    };
    let numbers = PROTOCOLS.iter().flat_map(|(_, protocol)| of(*protocol)).collect();
    Ports { numbers, ..found }
}
