//! Pods' links in network namespaces that each test makes: a node, its pods, and one that stands for the LAN.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use crate::netns::{Netns, pod};
use crate::world::end;
use agent_network::{Config, Error, Network, PortMapping, Protocol};

/// A node with a LAN at its side: 192.0.2.1 is the node, 192.0.2.2 the other machine.
struct Site {
    node: Netns,
    lan: Netns,
    state: tempfile::TempDir,
}

const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const LAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

impl Site {
    fn new() -> Self {
        let (node, lan) = (Netns::new(), Netns::new());
        node.ip(&["link", "add", "lan0", "mtu", "1400", "type", "veth", "peer", "name", "lan0", "netns", lan.name()]);
        for (netns, address) in [(&node, "192.0.2.1/24"), (&lan, "192.0.2.2/24")] {
            netns.ip(&["address", "add", address, "dev", "lan0"]);
            netns.ip(&["link", "set", "lan0", "up"]);
        }
        node.ip(&["route", "add", "default", "via", "192.0.2.2"]);
        Self { node, lan, state: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> Config {
        Config {
            pod_range: "10.42.7.0/24".parse().unwrap(),
            cluster_range: "10.42.0.0/16".parse().unwrap(),
            service_range: "10.43.0.0/16".parse().unwrap(),
            vxlan_id: 42,
            vxlan_port: 4789,
            node: "0123abcd".into(),
            state_dir: self.state.path().join("network"),
            mtu: None,
            netns: Some(self.node.path()),
        }
    }

    async fn network(&self) -> Network {
        Network::setup(self.config()).await.unwrap()
    }
}

fn published(host_ip: Option<Ipv4Addr>, host_port: u16) -> PortMapping {
    PortMapping { protocol: Protocol::Tcp, host_ip, host_port, container_port: 80 }
}

#[tokio::test]
async fn two_pods_reach_each_other_and_the_node_and_the_lan_by_masquerade() {
    let site = Site::new();
    let network = site.network().await;
    let (a, b) = (Netns::new(), Netns::new());
    let address_a = network.attach(&pod("pod-a", &a, &[])).await.unwrap();
    let address_b = network.attach(&pod("pod-b", &b, &[])).await.unwrap();
    assert_eq!((address_a.to_string(), network.address("pod-b")), ("10.42.7.2".into(), Some(address_b)));
    for netns in [&a, &b, &site.node, &site.lan] {
        netns.serve(80);
    }
    assert_eq!(a.ask(address_b, 80).unwrap(), address_a.to_string());
    assert_eq!(b.ask(address_a, 80).unwrap(), address_b.to_string());
    assert_eq!(a.ask(address_a, 80).unwrap(), address_a.to_string());
    assert_eq!(a.ask(NODE, 80).unwrap(), address_a.to_string());
    assert_eq!(site.node.ask(address_a, 80).unwrap(), "10.42.7.1");
    assert_eq!(a.ask(LAN, 80).unwrap(), NODE.to_string());
    assert!(a.ip(&["link", "show", "eth0"]).contains("mtu 1400"), "the pod's link has the LAN's MTU");
}

#[tokio::test]
async fn a_pod_cannot_reach_the_nodes_loopback_nor_take_another_address() {
    let site = Site::new();
    let network = site.network().await;
    let (a, b) = (Netns::new(), Netns::new());
    network.attach(&pod("pod-a", &a, &[])).await.unwrap();
    let address_b = network.attach(&pod("pod-b", &b, &[])).await.unwrap();
    // As systemd's settings have it: the links' own filter gives way to it.
    site.node.inside(|| std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "2").unwrap());
    let secret = site.node.inside(|| UdpSocket::bind("127.0.0.1:9999").unwrap());
    secret.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let open = site.node.inside(|| UdpSocket::bind("0.0.0.0:9998").unwrap());
    open.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    a.ip(&["route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"]);
    a.ip(&["route", "del", "local", "127.0.0.1", "dev", "lo", "table", "local"]);
    a.ip(&["route", "add", "127.0.0.0/8", "via", "169.254.1.1", "dev", "eth0"]);
    a.ip(&["address", "del", "127.0.0.1/8", "dev", "lo"]);
    a.inside(|| {
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let _ = socket.send_to(b"x", "127.0.0.1:9999");
    });
    assert!(secret.recv(&mut [0; 8]).is_err(), "the node's loopback was reached from a pod");
    a.ip(&["address", "add", &format!("{address_b}/32"), "dev", "eth0"]);
    a.inside(move || {
        let socket = UdpSocket::bind((address_b, 0)).unwrap();
        let _ = socket.send_to(b"x", (NODE, 9998));
    });
    assert!(open.recv(&mut [0; 8]).is_err(), "a pod sent from another's address");
    b.inside(move || UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", (NODE, 9998)).unwrap());
    assert!(open.recv(&mut [0; 8]).is_ok(), "the honest one is heard");
}

#[tokio::test]
async fn a_host_port_is_reached_from_the_lan_the_node_its_loopback_and_the_pod_itself() {
    let site = Site::new();
    let network = site.network().await;
    let (a, b) = (Netns::new(), Netns::new());
    a.serve(80);
    b.serve(80);
    let address_a = network.attach(&pod("pod-a", &a, &[published(None, 8080)])).await.unwrap();
    let address_b = network.attach(&pod("pod-b", &b, &[published(Some(LOOPBACK), 8081)])).await.unwrap();
    assert_eq!(site.lan.ask(NODE, 8080).unwrap(), LAN.to_string());
    assert_eq!(site.node.ask(NODE, 8080).unwrap(), NODE.to_string());
    assert_eq!(site.node.ask(LOOPBACK, 8080).unwrap(), "10.42.7.1");
    assert_eq!(b.ask(NODE, 8080).unwrap(), address_b.to_string());
    assert_eq!(a.ask(NODE, 8080).unwrap(), "10.42.7.1");
    assert_eq!(site.node.ask(LOOPBACK, 8081).unwrap(), "10.42.7.1");
    assert!(site.lan.ask(NODE, 8081).is_err(), "published on the loopback address only");
    let taken = network.attach(&pod("pod-c", &Netns::new(), &[published(None, 8080)])).await;
    assert!(matches!(taken, Err(Error::PortTaken { port: 8080, .. })));
    network.detach("pod-a").await.unwrap();
    assert!(site.lan.ask(NODE, 8080).is_err());
    let again = network.attach(&pod("pod-a", &a, &[published(None, 8080)])).await.unwrap();
    assert_ne!(again, address_a);
    assert_eq!(site.lan.ask(NODE, 8080).unwrap(), LAN.to_string());
}

#[tokio::test]
async fn setup_again_changes_nothing_and_reconcile_heals_and_sweeps() {
    let site = Site::new();
    let (a, b) = (Netns::new(), Netns::new());
    a.serve(80);
    let network = site.network().await;
    let address = network.attach(&pod("pod-a", &a, &[published(None, 8080)])).await.unwrap();
    network.attach(&pod("pod-b", &b, &[])).await.unwrap();
    let (rules, routes) = (site.node.nft(), site.node.ip(&["route"]));
    drop(network);

    let network = site.network().await;
    assert_eq!(network.attach(&pod("pod-a", &a, &[published(None, 8080)])).await.unwrap(), address);
    assert_eq!((site.node.nft(), site.node.ip(&["route"])), (rules, routes));

    site.node.ip(&["route", "del", &format!("{address}/32")]);
    a.ip(&["route", "del", "default"]);
    assert!(site.node.ask(address, 80).is_err());
    assert!(network.reconcile(&[pod("pod-a", &a, &[published(None, 8080)])]).await.unwrap().is_empty());
    assert_eq!(site.lan.ask(NODE, 8080).unwrap(), LAN.to_string());
    assert_eq!(network.address("pod-b"), None);
    assert_eq!(site.node.ip(&["-o", "link"]).matches(": br").count(), 1);
}

#[tokio::test]
async fn a_pod_whose_namespace_was_made_anew_is_connected_again() {
    let site = Site::new();
    let network = site.network().await;
    let first = Netns::new();
    let address = network.attach(&pod("pod-a", &first, &[])).await.unwrap();
    let second = Netns::new();
    second.serve(80);
    assert_eq!(network.attach(&pod("pod-a", &second, &[])).await.unwrap(), address);
    assert_eq!(site.node.ask(address, 80).unwrap(), "10.42.7.1");
}

#[tokio::test]
async fn two_nodes_in_one_namespace_leave_each_other_alone_and_teardown_leaves_nothing() {
    let site = Site::new();
    let before = (site.node.ip(&["link"]), site.node.ip(&["-4", "route", "show", "table", "all"]), site.node.nft());
    let other = Config {
        pod_range: "10.42.8.0/24".parse().unwrap(),
        node: "89ef0000".into(),
        state_dir: site.state.path().join("other"),
        ..site.config()
    };
    let (one, two) = (site.network().await, Network::setup(other.clone()).await.unwrap());
    let (a, b) = (Netns::new(), Netns::new());
    b.serve(80);
    let address_a = one.attach(&pod("pod-a", &a, &[published(None, 8080)])).await.unwrap();
    let address_b = two.attach(&pod("pod-a", &b, &[])).await.unwrap();
    assert_eq!(a.ask(address_b, 80).unwrap(), address_a.to_string());
    end(one).await;
    Network::teardown(&site.config()).await.unwrap();
    Network::teardown(&site.config()).await.unwrap();
    assert_eq!(site.node.ask(address_b, 80).unwrap(), "10.42.8.1");
    assert!(a.ip(&["-o", "link"]).lines().all(|line| !line.contains("eth0")));
    end(two).await;
    Network::teardown(&other).await.unwrap();
    let after = (site.node.ip(&["link"]), site.node.ip(&["-4", "route", "show", "table", "all"]), site.node.nft());
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_chain_of_others_that_drops_what_it_does_not_know_is_told_of() {
    let site = Site::new();
    let _network = site.network().await;
    let told = || site.node.inside(|| agent_network::foreign_drops().unwrap());
    assert_eq!(told(), Vec::<String>::new());
    site.node.run(&["nft", "add", "table", "ip", "filter"]);
    site.node.run(&[
        "nft",
        "add",
        "chain",
        "ip",
        "filter",
        "INPUT",
        "{ type filter hook input priority 0; policy drop; }",
    ]);
    site.node.run(&[
        "nft",
        "add",
        "chain",
        "ip",
        "filter",
        "FORWARD",
        "{ type filter hook forward priority 0; policy drop; }",
    ]);
    assert_eq!(told(), ["chain FORWARD of table filter"]);
}
