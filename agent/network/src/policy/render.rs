use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use agent_nft::{
    Chain, ChainKind, ConntrackKey, Element, End, Expr, Hook, HookPoint, REGISTER_1, Ruleset, Set, Type, Value,
    Verdict, word,
};

use super::{
    Identity,
    parse::{Peers, Policy, Ports, Rule},
    ranges::addresses,
};

const SELF: &str = "self";
const ISOLATED_INGRESS: &str = "isolated-ingress";
const ISOLATED_EGRESS: &str = "isolated-egress";
const JUDGED: &str = "node-dns";
const INGRESS: &str = "ingress";
const EGRESS: &str = "egress";

pub(crate) fn table_name(node: &str) -> String {
    format!("bramble-policy-{node}")
}

/// A pod, or what counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub address: Ipv4Addr,
    pub identity: Identity,
}

/// All that a table follows from.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub policies: Vec<Policy>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// This node's pods, on which policies are enforced.
    pub local: Vec<Member>,
    /// The pods of the whole cluster, these among them.
    pub all: Vec<Member>,
    /// Addresses of the node itself that count as a pod's.
    pub dns: BTreeSet<Ipv4Addr>,
}

/// None where there is no policy, and so no table.
pub(crate) fn render(node: &str, world: &World) -> Option<Ruleset> {
    if world.policies.is_empty() {
        return None;
    }
    let mut table = Table::default();
    let (mut ingress, mut egress) = (Direction::default(), Direction::default());
    for (number, policy) in world.policies.iter().enumerate() {
        let selects = |member: &&Member| {
            member.identity.namespace == policy.namespace && policy.pods.matches(&member.identity.labels)
        };
        let selected: Vec<&Member> = world.local.iter().filter(selects).collect();
        let pods = selected.iter().map(|member| member.address).collect();
        let name = format!("p{number}");
        table.addresses(name.clone(), &pods);
        let sides = [(Side::Ingress, &policy.ingress, &mut ingress), (Side::Egress, &policy.egress, &mut egress)];
        for (side, rules, direction) in sides {
            let Some(rules) = rules else { continue };
            direction.isolated.extend(&pods);
            let context = Context { world, policy, selected: &selected, side };
            direction.policies.push(context.chain(&mut table, &name, rules));
        }
    }
    for (direction, isolated, name) in [(ingress, ISOLATED_INGRESS, INGRESS), (egress, ISOLATED_EGRESS, EGRESS)] {
        table.addresses(isolated.into(), &direction.isolated);
        let mut rules = direction.policies;
        // What no policy lets through ends here.
        rules.push(vec![Expr::Verdict(Verdict::Drop)]);
        table.0.chains.push(Chain::named(name, rules));
    }
    table.addresses(JUDGED.into(), &world.dns);
    let to_itself = |member: &Member| Element::new(&[Value::Address(member.address), Value::Address(member.address)]);
    let local = world.local.iter().map(to_itself).collect();
    table.0.sets.push((Set::new(SELF, [Type::Address, Type::Address]), local));
    table.0.chains.extend(hooks());
    table.0.table = table_name(node);
    Some(table.0)
}

/// One direction of all policies.
#[derive(Default)]
struct Direction {
    /// Pods that some policy selects.
    isolated: BTreeSet<Ipv4Addr>,
    /// A line each: packets of its pods go through its chain.
    policies: Vec<Vec<Expr>>,
}

/// Where packets come in. Each pod's own direction is judged in a hook of its own, so that what one accepts
/// still meets the other.
fn hooks() -> [Chain; 3] {
    let accept = || Expr::Verdict(Verdict::Accept);
    let known = || [&Expr::state_is(ConntrackKey::ESTABLISHED | ConntrackKey::RELATED)[..], &[accept()]].concat();
    let to_itself = || {
        vec![Expr::address(End::Source, word(0)), Expr::address(End::Destination, word(1)), lookup_at(SELF), accept()]
    };
    let isolated = |side: Side, set: &'static str, chain: &'static str| {
        vec![Expr::address(side.pod(), REGISTER_1), within(set.into()), Expr::goto(chain)]
    };
    let judged = vec![Expr::address(End::Destination, REGISTER_1), lookup(JUDGED.into(), false), accept()];
    let hook = |point, priority| Hook { kind: ChainKind::Filter, point, priority };
    let outward = || isolated(Side::Egress, ISOLATED_EGRESS, EGRESS);
    let inward = || isolated(Side::Ingress, ISOLATED_INGRESS, INGRESS);
    [
        Chain::base("forward-egress", hook(HookPoint::Forward, 0), vec![known(), to_itself(), outward()]),
        Chain::base("forward-ingress", hook(HookPoint::Forward, 1), vec![known(), to_itself(), inward()]),
        Chain::base("input-egress", hook(HookPoint::Input, 0), vec![known(), judged, outward()]),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Ingress,
    Egress,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Ingress => "in",
            Self::Egress => "out",
        }
    }

    /// Which of a packet's addresses is that of the pod under policy.
    fn pod(self) -> End {
        match self {
            Self::Ingress => End::Destination,
            Self::Egress => End::Source,
        }
    }

    fn peer(self) -> End {
        match self {
            Self::Ingress => End::Source,
            Self::Egress => End::Destination,
        }
    }
}

struct Context<'a> {
    world: &'a World,
    policy: &'a Policy,
    selected: &'a [&'a Member],
    side: Side,
}

impl Context<'_> {
    /// Makes the policy's chain, and answers with the line that leads to it.
    fn chain(&self, table: &mut Table, policy: &str, rules: &[Rule]) -> Vec<Expr> {
        let name = format!("{policy}-{}", self.side.name());
        let lines = rules.iter().enumerate();
        let lines = lines.flat_map(|(index, rule)| self.rule(table, &format!("{name}{index}"), rule)).collect();
        table.0.chains.push(Chain::named(name.clone(), lines));
        vec![Expr::address(self.side.pod(), REGISTER_1), within(policy.to_owned().into()), Expr::jump(name)]
    }

    /// Lines that accept what the rule lets through; all that the rule names is in sets, so that the lines do
    /// not change with the pods.
    fn rule(&self, table: &mut Table, name: &str, rule: &Rule) -> Vec<Vec<Expr>> {
        let peers = match &rule.peers {
            None => vec![vec![]],
            Some(peers) => self.peers(table, name, peers),
        };
        let accept = Expr::Verdict(Verdict::Accept);
        let Some(ports) = &rule.ports else {
            return peers.into_iter().map(|peer| [&peer[..], std::slice::from_ref(&accept)].concat()).collect();
        };
        let mut lines = Vec::new();
        if !ports.numbers.is_empty() {
            let port = numbers(table, format!("{name}-ports"), ports);
            lines.extend(peers.iter().map(|peer| [&peer[..], &port, std::slice::from_ref(&accept)].concat()));
        }
        if !ports.names.is_empty() {
            let port = self.names(table, format!("{name}-named"), rule, ports);
            // Outward the names already are those of the peers.
            let peers = if self.side == Side::Egress { vec![vec![]] } else { peers };
            lines.extend(peers.iter().map(|peer| [&peer[..], &port, std::slice::from_ref(&accept)].concat()));
        }
        lines
    }

    fn peers(&self, table: &mut Table, name: &str, peers: &Peers) -> Vec<Vec<Expr>> {
        let mut lines = Vec::new();
        if !peers.pods.is_empty() {
            let pods = self.matching(Some(peers)).map(|member| member.address).collect();
            let set = table.addresses(format!("{name}-pods"), &pods);
            lines.push(vec![Expr::address(self.side.peer(), REGISTER_1), within(set)]);
        }
        if !peers.blocks.is_empty() {
            let set = Set::new(format!("{name}-blocks"), [Type::Address]).with_intervals();
            let element = |(from, to)| Element::between(&[Value::Address(from)], &[Value::Address(to)]);
            lines.push(vec![Expr::address(self.side.peer(), REGISTER_1), within(set.name.clone())]);
            table.0.sets.push((set, peers.blocks.iter().copied().map(addresses).map(element).collect()));
        }
        lines
    }

    /// Of the cluster's pods those that match. An address that several claim counts where each of them matches:
    /// whoever comes after another inherits nothing.
    fn matching(&self, peers: Option<&Peers>) -> impl Iterator<Item = &Member> {
        let matches = move |member: &Member| peers.is_none_or(|peers| self.is_peer(peers, member));
        let refused: BTreeSet<Ipv4Addr> =
            self.world.all.iter().filter(|member| !matches(member)).map(|member| member.address).collect();
        self.world.all.iter().filter(move |member| !refused.contains(&member.address))
    }

    fn is_peer(&self, peers: &Peers, member: &Member) -> bool {
        let empty = BTreeMap::new();
        let namespace = &member.identity.namespace;
        peers.pods.iter().any(|peer| {
            let near = match &peer.namespaces {
                None => *namespace == self.policy.namespace,
                Some(selector) => selector.matches(self.world.namespaces.get(namespace).unwrap_or(&empty)),
            };
            near && peer.pods.matches(&member.identity.labels)
        })
    }

    /// The names of ports are those of the pods that packets go to.
    fn names(&self, table: &mut Table, name: String, rule: &Rule, ports: &Ports) -> Vec<Expr> {
        let to: Vec<&Member> = match self.side {
            Side::Ingress => self.selected.to_vec(),
            Side::Egress => self.matching(rule.peers.as_ref()).collect(),
        };
        let named = |member: &Member| {
            let wanted = |port: &&super::NamedPort| {
                ports.names.iter().any(|(protocol, name)| *protocol == port.protocol && *name == port.name)
            };
            let key = |port: &super::NamedPort| (member.address, port.protocol, port.port);
            member.identity.ports.iter().filter(wanted).map(key).collect::<Vec<_>>()
        };
        let keys: BTreeSet<(Ipv4Addr, u8, u16)> = to.into_iter().flat_map(named).collect();
        let element = |(address, protocol, port): &(Ipv4Addr, u8, u16)| {
            Element::new(&[Value::Address(*address), Value::Protocol(*protocol), Value::Port(*port)])
        };
        let set = Set::new(name, [Type::Address, Type::Protocol, Type::Port]);
        let line = vec![
            Expr::address(End::Destination, word(0)),
            Expr::layer4_protocol(word(1)),
            Expr::destination_port(word(2)),
            lookup_at(set.name.clone()),
        ];
        table.0.sets.push((set, keys.iter().map(element).collect()));
        line
    }
}

fn numbers(table: &mut Table, name: String, ports: &Ports) -> Vec<Expr> {
    let set = Set::new(name, [Type::Protocol, Type::Port]).with_intervals();
    let element = |(protocol, (first, last)): &(u8, (u16, u16))| {
        let key = |port: u16| [Value::Protocol(*protocol), Value::Port(port)];
        Element::between(&key(*first), &key(*last))
    };
    let line = vec![Expr::layer4_protocol(word(0)), Expr::destination_port(word(1)), lookup_at(set.name.clone())];
    table.0.sets.push((set, ports.numbers.iter().map(element).collect()));
    line
}

#[derive(Default)]
struct Table(Ruleset);

impl Table {
    fn addresses(&mut self, name: String, addresses: &BTreeSet<Ipv4Addr>) -> Cow<'static, str> {
        let set = Set::new(name, [Type::Address]);
        let name = set.name.clone();
        let elements = addresses.iter().map(|address| Element::new(&[Value::Address(*address)])).collect();
        self.0.sets.push((set, elements));
        name
    }
}

fn within(set: Cow<'static, str>) -> Expr {
    lookup(set, true)
}

fn lookup(set: Cow<'static, str>, within: bool) -> Expr {
    Expr::Lookup { set, register: REGISTER_1, within }
}

/// The key begins at the first word, which is where the first register does.
fn lookup_at(set: impl Into<Cow<'static, str>>) -> Expr {
    Expr::Lookup { set: set.into(), register: word(0), within: true }
}
