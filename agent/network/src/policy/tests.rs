use agent_nft::{Element, Ruleset, Value};
use control_api::view::networking::NetworkPolicy;
use serde_json::{Value as Json, json};

use super::*;

fn policy(namespace: &str, spec: &Json) -> Policy {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": "p"}, "spec": spec,
    });
    parse(&serde_json::from_value::<NetworkPolicy>(object).unwrap()).unwrap()
}

fn member(address: [u8; 4], namespace: &str, app: &str) -> Member {
    let identity = Identity {
        namespace: namespace.into(),
        labels: [("app".to_owned(), app.to_owned())].into(),
        ports: vec![NamedPort { name: "web".into(), protocol: 6, port: 8080 }],
    };
    Member { address: address.into(), identity }
}

const WEB: [u8; 4] = [10, 42, 1, 2];
const OTHER: [u8; 4] = [10, 42, 1, 3];
const FAR: [u8; 4] = [10, 42, 2, 2];
const FOREIGN: [u8; 4] = [10, 42, 2, 3];

fn world(policies: Vec<Policy>) -> World {
    let local = vec![member(WEB, "default", "web"), member(OTHER, "default", "other")];
    let far = [member(FAR, "default", "client"), member(FOREIGN, "tools", "client")];
    World {
        policies,
        namespaces: [
            ("default".to_owned(), BTreeMap::new()),
            ("tools".to_owned(), [("team".to_owned(), "ops".to_owned())].into()),
        ]
        .into(),
        all: local.iter().cloned().chain(far).collect(),
        local,
        dns: [].into(),
    }
}

fn elements<'a>(table: &'a Ruleset, name: &str) -> Option<&'a [Element]> {
    table.sets.iter().find(|(set, _)| set.name == name).map(|(_, elements)| elements.as_slice())
}

fn of(addresses: &[[u8; 4]]) -> Vec<Element> {
    addresses.iter().map(|address| Element::new(&[Value::Address((*address).into())])).collect()
}

#[test]
fn directions_are_those_of_the_types_or_of_the_rules() {
    let directions = |spec: Json| {
        let policy = policy("default", &spec);
        (policy.ingress.map(|rules| rules.len()), policy.egress.map(|rules| rules.len()))
    };
    assert_eq!(directions(json!({})), (Some(0), None));
    assert_eq!(directions(json!({"egress": [{}]})), (Some(0), Some(1)));
    assert_eq!(directions(json!({"policyTypes": ["Egress"]})), (None, Some(0)));
    assert_eq!(directions(json!({"policyTypes": ["Ingress"], "egress": [{}]})), (Some(0), None));
    assert_eq!(directions(json!({"policyTypes": ["Ingress", "Egress"], "ingress": [{}, {}]})), (Some(2), Some(0)));
}

#[test]
fn without_policies_there_is_no_table() {
    assert_eq!(render("n", &world(vec![])), None);
}

#[test]
fn a_policy_isolates_the_nodes_pods_that_it_selects() {
    let selects = json!({"podSelector": {"matchLabels": {"app": "web"}}});
    let table = render("n", &world(vec![policy("default", &selects), policy("tools", &json!({}))])).unwrap();
    assert_eq!(elements(&table, "isolated-ingress").unwrap(), of(&[WEB]));
    assert_eq!(elements(&table, "isolated-egress").unwrap(), of(&[]));
    assert_eq!(elements(&table, "p1").unwrap(), of(&[]), "no pod of that namespace is here");
}

#[test]
fn peers_are_found_by_namespace_and_labels_wherever_they_run() {
    let from = |peers: Json| {
        let rule = json!({"podSelector": {}, "ingress": [{"from": peers}]});
        let table = render("n", &world(vec![policy("default", &rule)])).unwrap();
        elements(&table, "p0-in0-pods").map(<[Element]>::to_vec)
    };
    let client = json!({"matchLabels": {"app": "client"}});
    let ops = json!({"matchLabels": {"team": "ops"}});
    assert_eq!(from(json!([{"podSelector": client}])).unwrap(), of(&[FAR]));
    assert_eq!(from(json!([{"namespaceSelector": {}, "podSelector": client}])).unwrap(), of(&[FAR, FOREIGN]));
    assert_eq!(from(json!([{"namespaceSelector": ops}])).unwrap(), of(&[FOREIGN]));
    assert_eq!(from(json!([{"podSelector": {}}])).unwrap(), of(&[WEB, OTHER, FAR]));
    let not_web = json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]});
    assert_eq!(from(json!([{"podSelector": not_web}])).unwrap(), of(&[OTHER, FAR]));
    assert_eq!(from(json!([])), None, "an empty list is everybody");
}

#[test]
fn blocks_and_ports_are_ranges_that_do_not_overlap() {
    let spec = json!({"podSelector": {}, "ingress": [{
        "from": [{"ipBlock": {"cidr": "192.168.0.0/16", "except": ["192.168.5.0/24"]}},
                 {"ipBlock": {"cidr": "192.168.4.0/22"}}, {"ipBlock": {"cidr": "fd00::/8"}}],
        "ports": [{"port": 80}, {"port": 80, "endPort": 90}, {"protocol": "UDP", "port": 53}, {"port": 85, "endPort": 95}],
    }]});
    let table = render("n", &world(vec![policy("default", &spec)])).unwrap();
    let between =
        |from: [u8; 4], to: [u8; 4]| Element::between(&[Value::Address(from.into())], &[Value::Address(to.into())]);
    let whole = [between([192, 168, 0, 0], [192, 168, 255, 255])];
    assert_eq!(elements(&table, "p0-in0-blocks").unwrap(), whole);
    let ports = |protocol, from, to| {
        let key = |port| [Value::Protocol(protocol), Value::Port(port)];
        Element::between(&key(from), &key(to))
    };
    assert_eq!(elements(&table, "p0-in0-ports").unwrap(), [ports(6, 80, 95), ports(17, 53, 53)]);
}

#[test]
fn named_ports_are_those_of_the_pods_that_packets_go_to() {
    let named = json!([{"port": "web"}]);
    let client = json!([{"podSelector": {"matchLabels": {"app": "client"}}}]);
    let spec = json!({
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": client, "ports": named}], "egress": [{"to": client, "ports": named}],
    });
    let table = render("n", &world(vec![policy("default", &spec)])).unwrap();
    let port =
        |address: [u8; 4]| [Element::new(&[Value::Address(address.into()), Value::Protocol(6), Value::Port(8080)])];
    assert_eq!(elements(&table, "p0-in0-named").unwrap(), port(WEB));
    assert_eq!(elements(&table, "p0-out0-named").unwrap(), port(FAR));
}

#[test]
fn an_address_that_two_claim_counts_only_where_both_match() {
    let spec = json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]});
    let mut world = world(vec![policy("default", &spec)]);
    world.all.push(member(FAR, "default", "someone"));
    assert_eq!(elements(&render("n", &world).unwrap(), "p0-in0-pods").unwrap(), of(&[]));
}

#[test]
fn pods_that_come_and_go_change_elements_only_and_policies_the_whole() {
    let spec = json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": "web"}]}]});
    let before = world(vec![policy("default", &spec)]);
    let mut after = before.clone();
    after.all.push(member([10, 42, 9, 9], "default", "new"));
    after.local.remove(0);
    let [before, after] = [&before, &after].map(|world| render("n", world).unwrap());
    assert!(matches!(difference(&before, &before), Change::Nothing));
    assert!(matches!(difference(&before, &after), Change::Elements(_)));
    let other = render("n", &world(vec![policy("default", &json!({"podSelector": {}}))])).unwrap();
    assert!(matches!(difference(&before, &other), Change::Whole));
}
