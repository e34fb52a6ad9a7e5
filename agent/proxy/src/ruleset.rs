//! The table without its Services: sets, and the chains that packets enter by.
//!
//! ```text
//! prerouting, output -> services: daddr . protocol . port -> verdict map -> refuse, drop, or a chain of a Shape,
//!                                  which picks an index and looks up front . index -> address . port
//! postrouting: masquerades what a chain has marked, and what a pod sends to itself
//! ```

use std::net::Ipv4Addr;

use agent_nft::{
    Chain, ChainKind, ConntrackStatus, Element, End, Expr, Hook, HookPoint, MetaKey, REGISTER_1, Reject, Ruleset, Set,
    Type, Value, Verdict, word,
};

use crate::{
    config::Config,
    front::{Front, NODE},
};

/// Of the packet's mark: masquerade it. The bit that Kubernetes has used for this from its beginning.
pub(crate) const MASQUERADE_BIT: u32 = 0x4000;
pub(crate) const REFUSE: &str = "refuse";
const SERVICES: &str = "services";
const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 0);
const LOOPBACK_PREFIX_LEN: u8 = 8;
const TCP: u8 = 6;
/// Clients that are remembered for session affinity; more are served without.
const AFFINITIES_MAX: u32 = 65_536;

/// The table's sets, whose elements are all that changes with Services.
pub(crate) struct Sets {
    /// Front -> verdict.
    pub services: Set,
    /// Front . index -> target.
    pub endpoints: Set,
    /// Front . client, of fronts that not everybody may use.
    pub sources: Set,
    /// Pod . the same pod: it reaches itself through a Service.
    pub hairpin: Set,
    /// Client . front . index, written by packets.
    pub affinity: Set,
    /// Addresses that are never translated.
    pub local: Set,
}

impl Sets {
    pub fn new() -> Self {
        let front = [Type::Address, Type::Protocol, Type::Port];
        let with = |before: &[Type], after: &[Type]| [before, &front, after].concat();
        Self {
            services: Set::verdict_map(SERVICES, front),
            endpoints: Set::map("endpoints", with(&[], &[Type::Mark]), [Type::Address, Type::Port]),
            sources: Set::new("sources", with(&[], &[Type::Address])).with_intervals(),
            hairpin: Set::new("hairpin", [Type::Address, Type::Address]),
            affinity: Set::new("affinity", with(&[Type::Address], &[Type::Mark])).changed_by_packets(AFFINITIES_MAX),
            local: Set::new("local", [Type::Address]),
        }
    }
}

/// The table as it is where no Service is.
pub(crate) fn render(config: &Config, sets: &Sets) -> Ruleset {
    let base = |name, point, priority, rules| Chain::base(name, Hook { kind: ChainKind::Nat, point, priority }, rules);
    let into_services = || vec![vec![Expr::jump(SERVICES)]];
    let local = config.local_services.iter().map(|address| Element::new(&[Value::Address(*address)])).collect();
    let empty = |set: &Set| (set.clone(), Vec::new());
    Ruleset {
        table: config.table(),
        sets: vec![
            empty(&sets.services),
            empty(&sets.endpoints),
            empty(&sets.sources),
            empty(&sets.hairpin),
            empty(&sets.affinity),
            (sets.local.clone(), local),
        ],
        chains: vec![
            base("prerouting", HookPoint::Prerouting, -100, into_services()),
            base("output", HookPoint::Output, -100, into_services()),
            base("postrouting", HookPoint::Postrouting, 100, masquerades()),
            Chain::named(SERVICES, services(config)),
            Chain::named(REFUSE, refuse()),
        ],
    }
}

fn services(config: &Config) -> Vec<Vec<Expr>> {
    let pods = |inside| {
        Expr::address_within(End::Source, config.cluster_range.base(), config.cluster_range.prefix_len(), inside)
    };
    let to_services =
        Expr::address_within(End::Destination, config.service_range.base(), config.service_range.prefix_len(), true);
    let by_map = |node_port| {
        let mut rule = front_at(0, node_port).to_vec();
        rule.push(Expr::VerdictMap { set: SERVICES.into(), register: word(0) });
        rule
    };
    let lookup = Expr::Lookup { set: "local".into(), register: REGISTER_1, within: true };
    let not_loopback = Expr::address_within(End::Destination, LOOPBACK, LOOPBACK_PREFIX_LEN, false);
    vec![
        vec![Expr::address(End::Destination, REGISTER_1), lookup, Expr::Verdict(Verdict::Return)],
        // The node and others outside have no route back from a pod's answer to a Service's address.
        [to_services.as_slice(), &pods(false), &Expr::set_mark_bits(MASQUERADE_BIT)].concat(),
        by_map(false),
        [to_services.as_slice(), &[Expr::goto(REFUSE)]].concat(),
        [Expr::address_is_local(End::Destination).as_slice(), &not_loopback, &by_map(true)].concat(),
    ]
}

fn refuse() -> Vec<Vec<Expr>> {
    vec![
        [Expr::protocol_is(TCP).as_slice(), &[Expr::Reject(Reject::TcpReset)]].concat(),
        vec![Expr::Reject(Reject::IcmpPortUnreachable)],
    ]
}

fn masquerades() -> Vec<Vec<Expr>> {
    let mark = MetaKey::Mark;
    // Cleared, or else the outer packet of a tunnel, which inherits it, would be masqueraded once more.
    let unmark = [
        Expr::Meta { key: mark, register: REGISTER_1 },
        Expr::mask((!MASQUERADE_BIT).to_ne_bytes()),
        Expr::SetMeta { key: mark, register: REGISTER_1 },
        Expr::Masquerade,
    ];
    let to_itself = [
        Expr::address(End::Source, word(0)),
        Expr::address(End::Destination, word(1)),
        Expr::Lookup { set: "hairpin".into(), register: word(0), within: true },
        Expr::Masquerade,
    ];
    vec![
        [Expr::mark_has(MASQUERADE_BIT).as_slice(), &unmark].concat(),
        [Expr::status_is(ConntrackStatus::DESTINATION_NAT).as_slice(), &to_itself].concat(),
    ]
}

/// Puts the packet's front into three registers.
pub(crate) fn front_at(first: u32, node_port: bool) -> [Expr; 3] {
    let address = match node_port {
        true => Expr::Load { register: word(first), value: NODE.octets().to_vec() },
        false => Expr::address(End::Destination, word(first)),
    };
    [address, Expr::layer4_protocol(word(first + 1)), Expr::destination_port(word(first + 2))]
}

impl Front {
    pub fn values(&self) -> [Value<'static>; 3] {
        [Value::Address(self.address), Value::Protocol(self.protocol as u8), Value::Port(self.port)]
    }
}
