//! What the kernel makes of our messages, as the `nft` program reads it back.

#![allow(clippy::unwrap_used, reason = "a test ends at what is unexpected")]

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use agent_nft::{
    Batch, Chain, ChainKind, ConntrackKey, ConntrackStatus, Direction, Element, End, Expr, Hook, HookPoint, MetaKey,
    REGISTER_1, Reject, Ruleset, Set, SetChange, Socket, Type, Value, Verdict, word,
};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace that goes with the value.
struct Netns(String);

impl Netns {
    fn new() -> Self {
        let name = format!("bramble-nft-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        assert!(Command::new("ip").args(["netns", "add", &name]).status().unwrap().success());
        Self(name)
    }

    fn socket(&self) -> Socket {
        Socket::open_in(Some(&PathBuf::from("/run/netns").join(&self.0))).unwrap()
    }

    fn list(&self) -> String {
        let output = Command::new("ip").args(["netns", "exec", &self.0, "nft", "list", "ruleset"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

const HERE: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 7);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 42, 1, 9);

fn service_key() -> Vec<Type> {
    vec![Type::Address, Type::Protocol, Type::Port]
}

fn sets() -> Vec<(Set, Vec<Element>)> {
    let key = [Value::Address(HERE), Value::Protocol(6), Value::Port(80)];
    let indexed = [key.as_slice(), &[Value::Mark(1)]].concat();
    let affinity = [[Type::Address].as_slice(), &service_key(), &[Type::Mark]].concat();
    let blocks = [Type::Address, Type::Port];
    vec![
        (Set::verdict_map("services", service_key()), vec![Element::new(&key).verdict(Verdict::Goto("refuse".into()))]),
        (
            Set::map("endpoints", [service_key(), vec![Type::Mark]].concat(), [Type::Address, Type::Port]),
            vec![Element::new(&indexed).value(&[Value::Address(THERE), Value::Port(8080)])],
        ),
        (Set::new("affinity", affinity).changed_by_packets(1000), vec![]),
        (Set::map("last", [Type::Address], [Type::Mark]).changed_by_packets(1000), vec![]),
        (Set::new("addresses", [Type::Address]), vec![Element::new(&[Value::Address(HERE)])]),
        (
            Set::new("ranges", [Type::Address]).with_intervals(),
            vec![Element::between(&[Value::Address(Ipv4Addr::new(10, 0, 0, 0))], &[Value::Address(THERE)])],
        ),
        (
            Set::new("blocks", blocks).with_intervals(),
            vec![Element::between(&[Value::Address(HERE), Value::Port(80)], &[Value::Address(HERE), Value::Port(90)])],
        ),
        (Set::new("links", [Type::LinkName]), vec![Element::new(&[Value::LinkName("eth7")])]),
    ]
}

fn service_key_at(first: u32) -> [Expr; 3] {
    [
        Expr::address(End::Destination, word(first)),
        Expr::layer4_protocol(word(first + 1)),
        Expr::destination_port(word(first + 2)),
    ]
}

fn change(change: SetChange, set: &'static str, data: Option<u32>) -> Expr {
    let timeout_ms = (change != SetChange::Delete).then_some(10_800_000);
    Expr::Change { change, set: set.into(), key: word(0), data, timeout_ms }
}

fn choose() -> Vec<Expr> {
    let mut rule = vec![Expr::address(End::Source, word(0))];
    rule.extend(service_key_at(1));
    rule.extend([
        Expr::Random { register: word(4), modulus: 1, offset: 1 },
        change(SetChange::Update, "affinity", None),
        change(SetChange::Update, "last", Some(word(4))),
        Expr::Map { set: "endpoints".into(), register: word(1), into: word(5) },
        Expr::DestinationNat { address: word(5), port: word(6) },
    ]);
    rule
}

fn everything() -> Ruleset {
    let hook = |kind, point, priority| Hook { kind, point, priority };
    let mut services = service_key_at(0).to_vec();
    services.push(Expr::VerdictMap { set: "services".into(), register: word(0) });
    let mut forget = vec![Expr::address(End::Source, word(0))];
    forget.extend(service_key_at(1));
    forget.extend([
        Expr::Random { register: word(4), modulus: 3, offset: 0 },
        change(SetChange::Delete, "affinity", None),
    ]);
    let lookup = |set: &'static str, within| Expr::Lookup { set: set.into(), register: REGISTER_1, within };
    let original = |key| Expr::ConntrackTuple { key, direction: Direction::Original, register: REGISTER_1 };
    let filter: Vec<Vec<Expr>> = vec![
        [
            Expr::state_is(ConntrackKey::ESTABLISHED | ConntrackKey::RELATED).as_slice(),
            &[Expr::Verdict(Verdict::Accept)],
        ]
        .concat(),
        [Expr::status_is(ConntrackStatus::DESTINATION_NAT).as_slice(), &[Expr::Counter]].concat(),
        vec![Expr::address(End::Source, REGISTER_1), lookup("addresses", true), Expr::Verdict(Verdict::Return)],
        vec![Expr::address(End::Source, REGISTER_1), lookup("ranges", false), Expr::Verdict(Verdict::Drop)],
        vec![
            Expr::address(End::Destination, word(0)),
            Expr::destination_port(word(1)),
            Expr::Lookup { set: "blocks".into(), register: word(0), within: true },
            Expr::jump("refuse"),
        ],
        vec![Expr::Meta { key: MetaKey::InputName, register: REGISTER_1 }, lookup("links", true), Expr::goto("refuse")],
        vec![original(ConntrackKey::DestinationAddress), Expr::equals(HERE.octets()), Expr::Counter],
        Expr::set_mark_bits(0x4000).to_vec(),
    ];
    let nat = [Expr::mark_has(0x4000).as_slice(), &[Expr::Masquerade]].concat();
    let refuse = vec![
        [Expr::protocol_is(6).as_slice(), &[Expr::Reject(Reject::TcpReset)]].concat(),
        vec![Expr::Reject(Reject::IcmpPortUnreachable)],
    ];
    Ruleset {
        table: "bramble-test".into(),
        sets: sets(),
        chains: vec![
            Chain::base(
                "prerouting",
                hook(ChainKind::Nat, HookPoint::Prerouting, -100),
                vec![services, forget, choose()],
            ),
            Chain::base("forward", hook(ChainKind::Filter, HookPoint::Forward, 0), filter),
            Chain::base("postrouting", hook(ChainKind::Nat, HookPoint::Postrouting, 100), vec![nat]),
            Chain::named("refuse", refuse),
        ],
    }
}

#[test]
fn the_kernel_reads_every_expression_as_it_was_meant() {
    let netns = Netns::new();
    netns.socket().apply(Batch::replace(&everything())).unwrap();
    let listed = netns.list();
    for expected in [
        "type ipv4_addr . inet_proto . inet_service : verdict",
        "elements = { 10.43.0.7 . tcp . 80 : goto refuse }",
        "type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service",
        "10.43.0.7 . tcp . 80 . 0x00000001 : 10.42.1.9 . 8080",
        "flags dynamic,timeout",
        "elements = { 10.0.0.0-10.42.1.9 }",
        "elements = { 10.43.0.7 . 80-90 }",
        "elements = { \"eth7\" }",
        "type nat hook prerouting priority dstnat; policy accept;",
        "ip daddr . meta l4proto . th dport vmap @services",
        "delete @affinity { ip saddr . ip daddr . meta l4proto . th dport . numgen random mod 3 }",
        "update @affinity { ip saddr . ip daddr . meta l4proto . th dport . numgen random mod 1 offset 1 timeout 3h }",
        "update @last { ip saddr timeout 3h : numgen random mod 1 offset 1 }",
        "type filter hook forward priority filter; policy accept;",
        "ct state established,related accept",
        "ct status dnat counter",
        "ip saddr @addresses return",
        "ip saddr != @ranges drop",
        "ip daddr . th dport @blocks jump refuse",
        "iifname @links goto refuse",
        "ct original ip daddr 10.43.0.7 counter",
        "meta mark set meta mark | 0x00004000",
        "meta mark & 0x00004000 != 0x00000000 masquerade",
        "reject with tcp reset\n",
        "reject\n",
    ] {
        assert!(listed.contains(expected), "{expected} is not in\n{listed}");
    }
}

#[test]
fn elements_change_in_one_batch_or_not_at_all() {
    let netns = Netns::new();
    let mut socket = netns.socket();
    socket.apply(Batch::replace(&everything())).unwrap();
    let (_, (set, _)) = ((), sets().remove(4));
    let [old, new] = [HERE, THERE].map(|address| Element::new(&[Value::Address(address)]));
    let mut batch = Batch::new();
    batch.delete("bramble-test", &set, std::slice::from_ref(&old));
    batch.add("bramble-test", &set, &[old.clone(), new.clone()]);
    socket.apply(batch).unwrap();
    let before = netns.list();
    assert!(
        before.contains("elements = { 10.42.1.9, 10.43.0.7 }") || before.contains("10.43.0.7, 10.42.1.9"),
        "{before}"
    );
    let mut batch = Batch::new();
    batch.delete("bramble-test", &set, std::slice::from_ref(&old));
    batch.delete("bramble-test", &set, &[Element::new(&[Value::Address(Ipv4Addr::LOCALHOST)])]);
    let refused = socket.apply(batch).unwrap_err();
    assert!(refused.is_absent(), "{refused:?}");
    assert_eq!(refused.to_string(), "the kernel refuses to delete elements of: addresses (table bramble-test)");
    assert_eq!(netns.list(), before);
    socket.apply(Batch::remove("bramble-test")).unwrap();
    socket.apply(Batch::remove("bramble-test")).unwrap();
    assert_eq!(netns.list(), "");
}

#[test]
fn a_table_of_fifty_thousand_elements_is_one_batch() {
    let netns = Netns::new();
    let set = Set::new("many", [Type::Address]);
    let elements = (0..50_000).map(|n: u32| Element::new(&[Value::Address(Ipv4Addr::from(0x0a00_0000 + n))])).collect();
    let ruleset = Ruleset { table: "bramble-test".into(), sets: vec![(set, elements)], chains: vec![] };
    netns.socket().apply(Batch::replace(&ruleset)).unwrap();
    assert_eq!(netns.list().matches("10.0.").count(), 50_000);
}

#[test]
fn asking_for_modules_changes_nothing() {
    let netns = Netns::new();
    assert_eq!(netns.socket().missing_modules().unwrap(), Vec::<&str>::new());
    assert_eq!(netns.list(), "");
}
