//! Pods of several nodes, which are network namespaces joined by bridges and a router.

use std::net::{Ipv4Addr, UdpSocket};

use crate::netns::{Netns, WAIT, pod};
use crate::world::{A, B, C, D, World, address, end, peer, peers, plug, until};
use agent_network::{Error, Network, Peer, PortMapping, Protocol};

/// A pod on each node, each of which serves port 80.
async fn pods(networks: &[Network]) -> Vec<(Netns, Ipv4Addr)> {
    let mut pods = Vec::new();
    for network in networks {
        let netns = Netns::new();
        let address = network.attach(&pod("pod", &netns, &[])).await.unwrap();
        netns.serve(80);
        pods.push((netns, address));
    }
    pods
}

/// Whether a pod is answered by another, as the one it is; for those who ask again.
fn speaks(from: &(Netns, Ipv4Addr), to: &(Netns, Ipv4Addr)) -> bool {
    from.0.ask_briefly(to.1, 80).is_ok_and(|seen| seen == from.1.to_string())
}

/// The same at once, however busy the machine is.
fn surely_speaks(from: &(Netns, Ipv4Addr), to: &(Netns, Ipv4Addr)) -> bool {
    from.0.ask_patiently(to.1, 80).is_ok_and(|seen| seen == from.1.to_string())
}

#[tokio::test]
async fn pods_of_all_nodes_reach_each_other_with_their_own_addresses() {
    let world = World::new();
    let networks = world.networks().await;
    let pods = pods(&networks).await;
    for from in &pods {
        for to in &pods {
            assert!(surely_speaks(from, to), "from {} to {}", from.1, to.1);
        }
    }
    for node in &world.nodes {
        node.netns.serve(81);
        for (_, to) in &pods {
            assert!(node.netns.ask(*to, 80).is_ok(), "from node {} to {to}", node.number);
        }
    }
    // The nodes themselves are the world: they see the node that a pod is on.
    assert_eq!(pods[A].0.ask(address(2), 81).unwrap(), address(1).to_string());
    assert_eq!(pods[A].0.ask(address(4), 81).unwrap(), address(1).to_string());
}

#[tokio::test]
async fn packets_are_as_large_as_each_way_takes_and_follow_a_change_of_the_lan() {
    let world = World::new();
    let networks = world.networks().await;
    let pods = pods(&networks).await;
    let fits = |to: usize, bytes: usize| pods[A].0.datagram_arrives(&pods[to].0, pods[to].1, bytes);
    assert!(fits(B, 1500) && !fits(B, 1501), "a LAN of 1500 bytes");
    assert!(fits(D, 1450) && !fits(D, 1451), "1450 bytes through the overlay");
    for node in &world.nodes {
        node.netns.ip(&["link", "set", "lan0", "mtu", "1300"]);
    }
    until("the pods' links follow the LAN's MTU", async || {
        pods.iter().all(|(netns, _)| netns.ip(&["link", "show", "eth0"]).contains("mtu 1300"))
            && world.nodes[A].netns.ip(&["route"]).contains("mtu 1250")
    })
    .await;
    assert!(fits(B, 1300) && !fits(B, 1301));
    assert!(fits(D, 1250) && !fits(D, 1251));
}

#[tokio::test]
async fn what_somebody_deletes_by_hand_comes_back() {
    let world = World::new();
    let networks = world.networks().await;
    let pods = pods(&networks).await;
    let node = &world.nodes[A].netns;
    let (routes, links) = (node.ip(&["route"]), node.ip(&["-br", "link"]).lines().count());
    let damages: [&[&str]; 6] = [
        &["route", "del", "10.42.2.0/24"],
        &["route", "del", "10.42.4.0/24"],
        &["route", "del", "10.42.1.2/32"],
        &["link", "del", "br1123a-vx"],
        &["link", "set", "br1123a-vx", "down"],
        &["address", "del", "10.42.1.1/32", "dev", "lo"],
    ];
    for damage in damages {
        node.ip(damage);
        until(&format!("healed from {damage:?}"), async || {
            speaks(&pods[B], &pods[A]) && speaks(&pods[A], &pods[D]) && node.ip(&["route"]) == routes
        })
        .await;
    }
    let rules = node.nft();
    for damage in ["flush ruleset", "delete table ip bramble-1123abcd", "flush chain ip bramble-1123abcd postrouting"] {
        node.run(&[&["nft"][..], &damage.split(' ').collect::<Vec<_>>()].concat());
        until(&format!("healed from {damage}"), async || node.nft() == rules).await;
    }
    assert_eq!(node.ip(&["-br", "link"]).lines().count(), links);
    assert_eq!(world.nodes[A].netns.ip(&["route"]), routes);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_changes_cause_no_further_ones() {
    let world = World::new();
    let networks = world.networks().await;
    let _pods = pods(&networks).await;
    let node = &world.nodes[A].netns;
    let mut monitor = node.monitor();
    node.ip(&["route", "del", "10.42.2.0/24"]);
    until("the route is back", async || node.ip(&["route"]).contains("10.42.2.0/24")).await;
    // Time for what must not happen.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let lines = monitor.lines_until(node, "192.0.2.202");
    assert_eq!(lines.len(), 2, "the deletion and the route's return, and nothing after them: {lines:?}");
}

#[tokio::test]
async fn routes_of_others_are_left_alone_and_a_peer_that_goes_takes_its_own_along() {
    let world = World::new();
    let networks = world.networks().await;
    let node = &world.nodes[A].netns;
    node.ip(&["route", "add", "10.42.77.0/24", "via", "192.0.2.254"]);
    node.ip(&["route", "add", "203.0.113.0/24", "via", "192.0.2.254", "proto", "66"]);
    networks[A].set_peers(vec![peer(2), peer(3)]).await.unwrap();
    let routes = node.ip(&["route"]);
    for kept in ["10.42.2.0/24", "10.42.3.0/24", "10.42.77.0/24", "203.0.113.0/24"] {
        assert!(routes.contains(kept), "{kept} in {routes}");
    }
    assert!(!routes.contains("10.42.4.0/24"), "{routes}");
    assert!(!node.ip(&["-br", "link"]).contains("-vx"), "nobody needs the overlay any more");
}

#[tokio::test]
async fn a_flap_of_the_lan_and_a_new_address_are_survived() {
    let world = World::new();
    let networks = world.networks().await;
    let pods = pods(&networks).await;
    let node = &world.nodes[A].netns;
    let mut changes = networks[A].changes();
    changes.mark_unchanged();
    node.ip(&["link", "set", "lan0", "down"]);
    changes.changed().await.unwrap();
    assert!(networks[A].addresses().is_empty());
    node.ip(&["link", "set", "lan0", "up"]);
    node.ip(&["route", "add", "default", "via", "192.0.2.254"]);
    until("the LAN is back", async || speaks(&pods[A], &pods[B]) && speaks(&pods[D], &pods[A])).await;
    assert_eq!(networks[A].addresses(), [address(1)]);

    changes.mark_unchanged();
    node.ip(&["address", "del", "192.0.2.1/24", "dev", "lan0"]);
    node.ip(&["address", "add", "192.0.2.77/24", "dev", "lan0"]);
    changes.changed().await.unwrap();
    until("the new address is seen", async || networks[A].addresses() == [Ipv4Addr::new(192, 0, 2, 77)]).await;
    node.ip(&["route", "replace", "default", "via", "192.0.2.254"]);
    let moved = Peer { addresses: vec![[192, 0, 2, 77].into()], ..peer(1) };
    let peers: Vec<Peer> = std::iter::once(moved).chain(peers().into_iter().skip(1)).collect();
    for network in &networks {
        network.set_peers(peers.clone()).await.unwrap();
    }
    for other in [B, C, D] {
        until("its pods are found at the new address", async || speaks(&pods[other], &pods[A])).await;
        assert!(surely_speaks(&pods[A], &pods[other]));
    }
}

#[tokio::test]
async fn a_node_that_moves_to_the_other_lan_is_reached_the_other_way() {
    let world = World::new();
    let networks = world.networks().await;
    let pods = pods(&networks).await;
    let node = &world.nodes[A].netns;
    node.ip(&["link", "del", "lan0"]);
    plug(node, "lan0", &world.switches[1], "moved", "198.51.100.1/24");
    node.ip(&["route", "add", "default", "via", "198.51.100.254"]);
    let moved = Peer { addresses: vec![[198, 51, 100, 1].into()], ..peer(1) };
    let peers: Vec<Peer> = std::iter::once(moved).chain(peers().into_iter().skip(1)).collect();
    for network in &networks {
        network.set_peers(peers.clone()).await.unwrap();
    }
    for other in [B, C, D] {
        until("it is reached", async || speaks(&pods[other], &pods[A]) && speaks(&pods[A], &pods[other])).await;
    }
    until("it reaches the others through the overlay, and its neighbour directly", async || {
        let routes = node.ip(&["route"]);
        routes.contains("10.42.4.0/24 via 198.51.100.4") && routes.contains("10.42.2.0/24 via 10.42.2.1")
    })
    .await;
}

#[tokio::test]
async fn pods_speak_on_while_the_agent_is_away_and_teardown_leaves_nothing() {
    let world = World::new();
    let node = &world.nodes[A];
    let has = || {
        (
            node.netns.ip(&["-br", "link"]),
            node.netns.ip(&["-4", "-br", "address"]),
            node.netns.ip(&["-4", "route", "show", "table", "all"]),
        )
    };
    let before = (has(), node.netns.nft());
    let mut networks = world.networks().await;
    let pods = pods(&networks).await;
    let dns = Ipv4Addr::new(10, 43, 0, 10);
    networks[A].add_local(dns).await.unwrap();
    assert!(node.netns.inside(move || UdpSocket::bind((dns, 53))).is_ok());
    let (running, rules) = (has(), node.netns.nft());
    drop(networks.remove(A));
    assert!(surely_speaks(&pods[A], &pods[B]) && surely_speaks(&pods[D], &pods[A]), "without an agent");

    let again = node.network().await;
    assert!(surely_speaks(&pods[A], &pods[B]) && surely_speaks(&pods[D], &pods[A]), "before it knows its peers");
    again.set_peers(peers()).await.unwrap();
    again.add_local(dns).await.unwrap();
    assert_eq!((has(), node.netns.nft()), (running, rules));
    again.adopt(&[pod("pod", &pods[A].0, &[])]).await.unwrap();
    node.netns.ip(&["route", "del", &format!("{}/32", pods[A].1)]);
    until("the link of a pod from before is mended", async || speaks(&pods[B], &pods[A])).await;
    end(again).await;
    Network::teardown(&node.config()).await.unwrap();
    assert_eq!((has(), node.netns.nft()), before);
}

#[tokio::test]
async fn a_range_of_the_cluster_that_is_the_lans_is_refused() {
    let world = World::new();
    let node = &world.nodes[A];
    let network = node.network().await;
    assert_eq!(network.trouble(), None);
    node.netns.ip(&["address", "add", "10.43.7.1/24", "dev", "lan0"]);
    until("it is told of", async || network.trouble().is_some()).await;
    let trouble = network.trouble().unwrap();
    assert!(trouble.contains("10.43.0.0/16") && trouble.contains("10.43.7.0/24 of link lan0"), "{trouble}");
    assert!(matches!(Network::setup(node.config()).await, Err(Error::Overlap { what: "service range", .. })));
    node.netns.ip(&["address", "del", "10.43.7.1/24", "dev", "lan0"]);
    until("it is over", async || network.trouble().is_none()).await;
}

#[tokio::test]
async fn a_node_without_a_way_out_finds_services_all_the_same() {
    let world = World::new();
    let node = &world.nodes[A];
    let _network = node.network().await;
    node.netns.ip(&["route", "del", "default"]);
    until("there is a route", async || node.netns.ip(&["route"]).contains("10.43.0.0/16 dev lo")).await;
    node.netns.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_write_timeout(Some(WAIT)).unwrap();
        socket.connect("10.43.0.1:443").unwrap();
        assert_eq!(socket.local_addr().unwrap().ip(), address(1));
    });
    node.netns.ip(&["route", "add", "default", "via", "192.0.2.254"]);
    until("it is gone", async || !node.netns.ip(&["route"]).contains("10.43.0.0/16")).await;
}

#[tokio::test]
async fn only_nodes_put_packets_among_pods() {
    let world = World::new();
    let networks = world.networks().await;
    let pods = pods(&networks).await;
    let (to, target) = (pods[D].1, pods[D].0.inside(|| UdpSocket::bind("0.0.0.0:7777").unwrap()));
    target.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let packet = packed([0x0e, 0x42, 10, 42, 4, 0], pods[A].1, to, 7777);
    let heard = |from: &Netns| {
        let packet = packet.clone();
        from.inside(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(&packet, (address(4), 4789)).unwrap();
        });
        target.recv(&mut [0; 64]).is_ok()
    };
    assert!(heard(&world.nodes[B].netns), "a node of the cluster may");
    assert!(!heard(&world.router), "a stranger may not");
    assert!(!heard(&pods[B].0), "nor may a pod, which would look like its node");
}

/// A datagram to a pod as one node packs it for another.
fn packed(mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut bytes = vec![8, 0, 0, 0, 0, 0, 66, 0];
    bytes.extend(mac);
    bytes.extend([0x0e, 0x42, 10, 42, 1, 0, 0x08, 0x00]);
    let start = bytes.len();
    bytes.extend([0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0]);
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    let sum: u32 = bytes[start..].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    bytes[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(7u16.to_be_bytes());
    bytes.extend(port.to_be_bytes());
    bytes.extend([0, 9, 0, 0, b'x']);
    bytes
}

#[tokio::test]
async fn host_ports_of_both_protocols_are_reached_across_nodes() {
    let world = World::new();
    let networks = world.networks().await;
    let pods = pods(&networks).await;
    let published = |protocol, host_port| PortMapping { protocol, host_ip: None, host_port, container_port: 80 };
    let ports = [published(Protocol::Tcp, 8080), published(Protocol::Udp, 5353)];
    networks[A].attach(&pod("pod", &pods[A].0, &ports)).await.unwrap();
    pods[A].0.echo(80);
    for (netns, own) in [(&world.nodes[B].netns, address(2)), (&world.nodes[D].netns, address(4))] {
        assert_eq!(netns.ask(address(1), 8080).unwrap(), own.to_string());
        assert_eq!(netns.ask_by_datagram(address(1), 5353).unwrap(), own.to_string());
    }
    assert_eq!(pods[B].0.ask(address(1), 8080).unwrap(), address(2).to_string());
    assert_eq!(pods[D].0.ask_by_datagram(address(1), 5353).unwrap(), address(4).to_string());
    assert_eq!(world.nodes[A].netns.ask_by_datagram(Ipv4Addr::LOCALHOST, 5353).unwrap(), "10.42.1.1");
    assert_eq!(pods[A].0.ask_by_datagram(address(1), 5353).unwrap(), "10.42.1.1", "by itself");
    networks[A].detach("pod").await.unwrap();
    assert!(world.nodes[B].netns.ask_by_datagram(address(1), 5353).is_err());
}

#[tokio::test]
async fn a_host_port_for_names_leaves_the_clusters_dns_alone() {
    let world = World::new();
    let networks = world.networks().await;
    let dns = Ipv4Addr::new(10, 43, 0, 10);
    networks[A].add_local(dns).await.unwrap();
    let netns = Netns::new();
    netns.serve(80);
    let port = PortMapping { protocol: Protocol::Tcp, host_ip: None, host_port: 53, container_port: 80 };
    networks[A].attach(&pod("names", &netns, &[port])).await.unwrap();
    let client = Netns::new();
    networks[A].attach(&pod("client", &client, &[])).await.unwrap();
    assert!(client.ask(address(1), 53).is_ok());
    assert!(client.ask_briefly(dns, 53).is_err(), "nobody serves it yet");
    world.nodes[A].netns.serve(53);
    assert!(client.ask(dns, 53).is_ok());
}
