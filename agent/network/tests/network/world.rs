//! Four nodes: a, b and c on one LAN, d on another behind a router that knows nothing of pods.

use std::{future::Future, net::Ipv4Addr, time::Duration};

use agent_network::{Config, Network, Peer};

use crate::netns::{Netns, WAIT};

pub struct World {
    pub nodes: Vec<Node>,
    pub router: Netns,
    pub switches: [Netns; 2],
}

pub struct Node {
    pub netns: Netns,
    pub state: tempfile::TempDir,
    pub number: u8,
}

pub const A: usize = 0;
pub const B: usize = 1;
pub const C: usize = 2;
pub const D: usize = 3;
pub const NODES: u8 = 4;

/// Where the machines of a LAN meet.
pub fn switch() -> Netns {
    let netns = Netns::new();
    netns.ip(&["link", "add", "br0", "type", "bridge"]);
    netns.ip(&["link", "set", "br0", "up"]);
    // It does not look into packets; where br_netfilter is absent it cannot be asked to.
    netns.inside(|| drop(std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0")));
    netns
}

/// A cable from a machine to a switch.
pub fn plug(machine: &Netns, link: &str, switch: &Netns, port: &str, address: &str) {
    machine.ip(&["link", "add", link, "type", "veth", "peer", "name", port, "netns", switch.name()]);
    switch.ip(&["link", "set", port, "master", "br0", "up"]);
    machine.ip(&["address", "add", address, "dev", link]);
    machine.ip(&["link", "set", link, "up"]);
}

/// The address of a node by its number, 1 to 4.
pub fn address(number: u8) -> Ipv4Addr {
    if number < NODES { [192, 0, 2, number].into() } else { [198, 51, 100, number].into() }
}

impl World {
    pub fn new() -> Self {
        let switches = [switch(), switch()];
        let router = Netns::new();
        plug(&router, "near", &switches[0], "router", "192.0.2.254/24");
        plug(&router, "far", &switches[1], "router", "198.51.100.254/24");
        router.inside(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        let nodes = (1..=NODES).map(|number| {
            let netns = Netns::new();
            let (switch, gateway) = match number {
                NODES => (&switches[1], "198.51.100.254"),
                _ => (&switches[0], "192.0.2.254"),
            };
            plug(&netns, "lan0", switch, &format!("port{number}"), &format!("{}/24", address(number)));
            netns.ip(&["route", "add", "default", "via", gateway]);
            Node { netns, state: tempfile::tempdir().unwrap(), number }
        });
        Self { nodes: nodes.collect(), router, switches }
    }

    /// All nodes' networks, which know of each other.
    pub async fn networks(&self) -> Vec<Network> {
        let mut networks = Vec::new();
        for node in &self.nodes {
            let network = node.network().await;
            network.set_peers(peers()).await.unwrap();
            networks.push(network);
        }
        networks
    }
}

pub fn peer(number: u8) -> Peer {
    let pod_range = format!("10.42.{number}.0/24").parse().unwrap();
    Peer { name: format!("node-{number}"), pod_range, addresses: vec![address(number)] }
}

pub fn peers() -> Vec<Peer> {
    (1..=NODES).map(peer).collect()
}

impl Node {
    pub fn config(&self) -> Config {
        Config {
            pod_range: format!("10.42.{}.0/24", self.number).parse().unwrap(),
            cluster_range: "10.42.0.0/16".parse().unwrap(),
            service_range: "10.43.0.0/16".parse().unwrap(),
            vxlan_id: 66,
            vxlan_port: 4789,
            node: format!("{}123abcd", self.number),
            state_dir: self.state.path().join("network"),
            mtu: None,
            netns: Some(self.netns.path()),
        }
    }

    pub async fn network(&self) -> Network {
        Network::setup(self.config()).await.unwrap()
    }
}

/// As an agent's end does: what it was about to mend, in a thread of its own, is not put back after it.
pub async fn end(network: Network) {
    drop(network);
    let at_work = || {
        let mut threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        threads.any(|thread| std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name == "netns\n"))
    };
    until("work that had begun ends", async || !at_work()).await;
}

/// Waits until it holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(WAIT * 10, wait).await.is_ok(), "not in time: {what}");
}
