use super::*;

const NODE: [u8; 4] = [192, 168, 1, 10];

fn config() -> Config {
    Config {
        pod_range: "10.42.1.0/24".parse().unwrap(),
        cluster_range: "10.42.0.0/16".parse().unwrap(),
        service_range: "10.43.0.0/16".parse().unwrap(),
        vxlan_id: 66,
        vxlan_port: 4789,
        node: "0123abcd".into(),
        state_dir: "/nowhere".into(),
        mtu: None,
        netns: None,
    }
}

fn link(name: &str, mtu: u32, lan: bool) -> LinkState {
    LinkState { name: name.into(), mtu, up: true, lan, ..LinkState::default() }
}

fn route(destination: &str, link: u32, gateway: Option<[u8; 4]>) -> RouteState {
    RouteState {
        destination: destination.parse().unwrap(),
        gateway: gateway.map(Into::into),
        link,
        source: None,
        mtu: None,
        protocol: 2,
        metric: 0,
    }
}

/// A machine with a LAN, a default route, and Docker.
fn machine() -> State {
    let held =
        |link, address: [u8; 4], prefix_len, global| AddressState { link, address: address.into(), prefix_len, global };
    State {
        links: [(1, link("lo", 65536, false)), (2, link("eth0", 1500, true)), (3, link("docker0", 1500, true))].into(),
        addresses: vec![held(1, [127, 0, 0, 1], 8, false), held(3, [172, 17, 0, 1], 16, true), held(2, NODE, 24, true)],
        routes: vec![
            route("0.0.0.0/0", 2, Some([192, 168, 1, 1])),
            route("192.168.1.0/24", 2, None),
            route("172.17.0.0/16", 3, None),
        ],
        ..State::default()
    }
}

fn peer(range: &str, addresses: &[[u8; 4]]) -> Peer {
    Peer {
        name: range.to_owned(),
        pod_range: range.parse().unwrap(),
        addresses: addresses.iter().map(|address| (*address).into()).collect(),
    }
}

#[test]
fn a_peer_on_the_lan_is_routed_to_and_one_elsewhere_goes_through_the_overlay() {
    let peers = [peer("10.42.2.0/24", &[[192, 168, 1, 11]]), peer("10.42.3.0/24", &[[203, 0, 113, 5]])];
    let plan = plan(&config(), &machine(), Some(&peers));
    let direct = Route { hop: Hop::Link(2), gateway: Some([192, 168, 1, 11].into()), source: None, mtu: None };
    let gateway = Ipv4Addr::new(10, 42, 3, 1);
    let source = Some(Ipv4Addr::new(10, 42, 1, 1));
    let through = Route { hop: Hop::Overlay, gateway: Some(gateway), source, mtu: Some(1450) };
    assert_eq!(plan.routes, [(peers[0].pod_range, direct), (peers[1].pod_range, through)].into());
    let mac = [0x0e, 0x42, 10, 42, 3, 0];
    let overlay =
        Overlay { mtu: 1450, neighbours: [(gateway, mac)].into(), forwarding: [(mac, [203, 0, 113, 5].into())].into() };
    assert_eq!(plan.overlay, Some(overlay));
}

#[test]
fn dockers_network_is_no_lan_and_an_address_that_both_have_tells_nothing() {
    let peers = [peer("10.42.2.0/24", &[[203, 0, 113, 5], [172, 17, 0, 1], [172, 17, 0, 9]])];
    let plan = plan(&config(), &machine(), Some(&peers));
    assert_eq!(plan.routes[&peers[0].pod_range].hop, Hop::Overlay);
    assert_eq!(lan_addresses(&machine()), [Ipv4Addr::from(NODE)]);
}

#[test]
fn a_range_that_is_not_the_peers_own_is_refused_and_changes_nothing_else() {
    let here = [[192, 168, 1, 11]];
    let peers = [
        peer("0.0.0.0/0", &here),
        peer("10.42.1.128/25", &here),
        peer("10.42.2.0/24", &here),
        peer("10.42.2.0/25", &here),
        peer("10.42.0.0/15", &here),
        peer("10.42.1.0/24", &here),
        peer("10.42.5.0/24", &[NODE]),
        peer("10.42.6.0/24", &[]),
    ];
    let plan = plan(&config(), &machine(), Some(&peers));
    assert_eq!(plan.routes.keys().map(ToString::to_string).collect::<Vec<_>>(), ["10.42.2.0/24"]);
    assert_eq!(plan.refused.len(), 4, "{:?}", plan.refused);
}

#[test]
fn a_node_without_a_way_out_has_one_to_services_and_none_to_peers_out_of_reach() {
    let mut state = machine();
    state.routes.remove(0);
    let peers = [peer("10.42.2.0/24", &[[192, 168, 1, 11]]), peer("10.42.3.0/24", &[[203, 0, 113, 5]])];
    let plan = plan(&config(), &state, Some(&peers));
    let ranges: Vec<_> = plan.routes.keys().map(ToString::to_string).collect();
    assert_eq!(ranges, ["10.42.2.0/24", "10.43.0.0/16"]);
    assert_eq!(plan.routes[&config().service_range].source, Some(NODE.into()));
}

#[test]
fn a_link_without_a_carrier_is_no_lan() {
    let mut state = machine();
    state.links.insert(2, link("eth0", 1500, false));
    let peers = [peer("10.42.2.0/24", &[[192, 168, 1, 11]])];
    assert_eq!(plan(&config(), &state, Some(&peers)).routes[&peers[0].pod_range].hop, Hop::Overlay);
}

#[test]
fn an_overlap_names_both_networks() {
    let mut state = machine();
    assert!(check_overlap(&config(), &state).is_ok());
    state.addresses[2].address = [10, 42, 200, 1].into();
    state.addresses[2].prefix_len = 8;
    let error = check_overlap(&config(), &state).unwrap_err().to_string();
    assert!(error.contains("pod range 10.42.0.0/16") && error.contains("10.0.0.0/8 of link eth0"), "{error}");
    state.addresses[2].address = [10, 43, 9, 1].into();
    state.addresses[2].prefix_len = 24;
    let error = check_overlap(&config(), &state).unwrap_err().to_string();
    assert!(error.contains("service range 10.43.0.0/16") && error.contains("10.43.9.0/24"), "{error}");
    // What another Kubernetes left behind is no LAN, and in the way all the same.
    let mut state = machine();
    state.links.insert(3, link("cni0", 1450, true));
    state.addresses[1].address = [10, 42, 0, 1].into();
    assert!(check_overlap(&config(), &state).is_err());
    state.links.insert(3, link("br89ef0-vx", 1450, true));
    assert!(check_overlap(&config(), &state).is_ok(), "another node's");
}

#[test]
fn links_of_nodes_are_told_from_others() {
    for name in ["br0123a8f7e0a2c", "br0123a-vx"] {
        assert!(is_bramble(name), "{name}");
    }
    for name in ["br0", "br-lan", "bridge0", "br0123a", "eth0", "brünett"] {
        assert!(!is_bramble(name), "{name}");
    }
}
