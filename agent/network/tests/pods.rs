//! Pods' links in network namespaces that each test makes: a node, its pods, and one that stands for the LAN.

#![allow(clippy::unwrap_used, reason = "a test ends at what is unexpected")]

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use agent_network::{Config, Error, Network, PodNetwork, PortMapping, Protocol};
use nix::sched::{CloneFlags, setns};

static NEXT: AtomicU32 = AtomicU32::new(0);
const WAIT: Duration = Duration::from_secs(3);

/// A network namespace that goes with the value.
struct Netns(String);

impl Netns {
    fn new() -> Self {
        let name = format!("bramble-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name]);
        let netns = Self(name);
        netns.ip(&["link", "set", "lo", "up"]);
        netns
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }

    fn ip(&self, args: &[&str]) -> String {
        ip(&[&["-n", &self.0], args].concat())
    }

    fn nft(&self) -> String {
        let output = Command::new("ip").args(["netns", "exec", &self.0, "nft", "list", "ruleset"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let path = self.path();
        std::thread::spawn(move || {
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
        .join()
        .unwrap()
    }

    /// Answers every connection with the address of who made it.
    fn serve(&self, port: u16) {
        let listener = self.inside(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream.peer_addr().unwrap().ip().to_string();
                stream.write_all(peer.as_bytes()).unwrap();
            }
        });
    }

    /// Who the server at this address takes us for.
    fn ask(&self, address: Ipv4Addr, port: u16) -> std::io::Result<String> {
        self.inside(move || {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), WAIT)?;
            stream.set_read_timeout(Some(WAIT))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn ip(args: &[&str]) -> String {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

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
        node.ip(&["link", "add", "lan0", "mtu", "1400", "type", "veth", "peer", "name", "lan0", "netns", &lan.0]);
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
    let address_a = network.attach("pod-a", &a.path(), &[]).await.unwrap();
    let address_b = network.attach("pod-b", &b.path(), &[]).await.unwrap();
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
    network.attach("pod-a", &a.path(), &[]).await.unwrap();
    let address_b = network.attach("pod-b", &b.path(), &[]).await.unwrap();
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
    let address_a = network.attach("pod-a", &a.path(), &[published(None, 8080)]).await.unwrap();
    let address_b = network.attach("pod-b", &b.path(), &[published(Some(LOOPBACK), 8081)]).await.unwrap();
    assert_eq!(site.lan.ask(NODE, 8080).unwrap(), LAN.to_string());
    assert_eq!(site.node.ask(NODE, 8080).unwrap(), NODE.to_string());
    assert_eq!(site.node.ask(LOOPBACK, 8080).unwrap(), "10.42.7.1");
    assert_eq!(b.ask(NODE, 8080).unwrap(), address_b.to_string());
    assert_eq!(a.ask(NODE, 8080).unwrap(), "10.42.7.1");
    assert_eq!(site.node.ask(LOOPBACK, 8081).unwrap(), "10.42.7.1");
    assert!(site.lan.ask(NODE, 8081).is_err(), "published on the loopback address only");
    let taken = network.attach("pod-c", &Netns::new().path(), &[published(None, 8080)]).await;
    assert!(matches!(taken, Err(Error::PortTaken { port: 8080, .. })));
    network.detach("pod-a").await.unwrap();
    assert!(site.lan.ask(NODE, 8080).is_err());
    let again = network.attach("pod-a", &a.path(), &[published(None, 8080)]).await.unwrap();
    assert_ne!(again, address_a);
    assert_eq!(site.lan.ask(NODE, 8080).unwrap(), LAN.to_string());
}

#[tokio::test]
async fn setup_again_changes_nothing_and_reconcile_heals_and_sweeps() {
    let site = Site::new();
    let (a, b) = (Netns::new(), Netns::new());
    a.serve(80);
    let network = site.network().await;
    let address = network.attach("pod-a", &a.path(), &[published(None, 8080)]).await.unwrap();
    network.attach("pod-b", &b.path(), &[]).await.unwrap();
    let (rules, routes) = (site.node.nft(), site.node.ip(&["route"]));
    drop(network);

    let network = site.network().await;
    assert_eq!(network.attach("pod-a", &a.path(), &[published(None, 8080)]).await.unwrap(), address);
    assert_eq!((site.node.nft(), site.node.ip(&["route"])), (rules, routes));

    site.node.ip(&["route", "del", &format!("{address}/32")]);
    a.ip(&["route", "del", "default"]);
    assert!(site.node.ask(address, 80).is_err());
    let pod = PodNetwork { uid: "pod-a".into(), netns: a.path(), ports: vec![published(None, 8080)] };
    assert!(network.reconcile(&[pod]).await.unwrap().is_empty());
    assert_eq!(site.lan.ask(NODE, 8080).unwrap(), LAN.to_string());
    assert_eq!(network.address("pod-b"), None);
    assert_eq!(site.node.ip(&["-o", "link"]).matches(": br").count(), 1);
}

#[tokio::test]
async fn a_pod_whose_namespace_was_made_anew_is_connected_again() {
    let site = Site::new();
    let network = site.network().await;
    let first = Netns::new();
    let address = network.attach("pod-a", &first.path(), &[]).await.unwrap();
    let second = Netns::new();
    second.serve(80);
    assert_eq!(network.attach("pod-a", &second.path(), &[]).await.unwrap(), address);
    assert_eq!(site.node.ask(address, 80).unwrap(), "10.42.7.1");
}

#[tokio::test]
async fn two_nodes_in_one_namespace_leave_each_other_alone_and_teardown_leaves_nothing() {
    let site = Site::new();
    let before = (site.node.ip(&["link"]), site.node.ip(&["route", "show", "table", "all"]), site.node.nft());
    let other = Config {
        pod_range: "10.42.8.0/24".parse().unwrap(),
        node: "89ef0000".into(),
        state_dir: site.state.path().join("other"),
        ..site.config()
    };
    let (one, two) = (site.network().await, Network::setup(other.clone()).await.unwrap());
    let (a, b) = (Netns::new(), Netns::new());
    b.serve(80);
    let address_a = one.attach("pod-a", &a.path(), &[published(None, 8080)]).await.unwrap();
    let address_b = two.attach("pod-a", &b.path(), &[]).await.unwrap();
    assert_eq!(a.ask(address_b, 80).unwrap(), address_a.to_string());
    Network::teardown(&site.config()).await.unwrap();
    Network::teardown(&site.config()).await.unwrap();
    assert_eq!(site.node.ask(address_b, 80).unwrap(), "10.42.8.1");
    assert!(a.ip(&["-o", "link"]).lines().all(|line| !line.contains("eth0")));
    Network::teardown(&other).await.unwrap();
    let after = (site.node.ip(&["link"]), site.node.ip(&["route", "show", "table", "all"]), site.node.nft());
    assert_eq!(before, after);
}
