//! How fast pods of two nodes speak with each other.
//!
//! Against two peers. A bare cable between the two pods has one hop, and no routed network reaches it: the way pod -
//! cable - node - cable - switch - cable - node - cable - pod has four. So the fair peer is that very way where the
//! nodes forward by hand and nothing else: what it costs against the bare cable is the topology's, and what we cost
//! against it is ours. Of that, the tracking of connections alone, which Services cannot be without, has a row too.
//!
//! Figures, not promises: run by hand with `--run-ignored only --no-capture -E 'test(speed::)'`.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use crate::netns::{Netns, pod};
use crate::world::{A, B, D, World, address, plug, switch};

const ROUNDS: usize = 21;
const ROUND: Duration = Duration::from_millis(250);
const PINGS: usize = 1000;

/// Takes what is sent, or gives each byte back.
fn serve(netns: &Netns) -> (u16, u16) {
    let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let (sink, echo) = (netns.inside(listen), netns.inside(listen));
    let ports = (sink.local_addr().unwrap().port(), echo.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for mut stream in sink.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = vec![0; 256 << 10];
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
            });
        }
    });
    std::thread::spawn(move || {
        for mut stream in echo.incoming().flatten() {
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    });
    ports
}

/// Gigabits a second.
fn throughput(from: &Netns, to: Ipv4Addr, port: u16) -> f64 {
    from.inside(move || {
        let mut stream = TcpStream::connect((to, port)).unwrap();
        let block = vec![7; 256 << 10];
        let (begin, mut sent) = (Instant::now(), 0u64);
        while begin.elapsed() < ROUND {
            sent += stream.write(&block).unwrap() as u64;
        }
        sent as f64 * 8.0 / begin.elapsed().as_secs_f64() / 1e9
    })
}

/// Microseconds there and back, the median.
fn latency(from: &Netns, to: Ipv4Addr, port: u16) -> f64 {
    from.inside(move || {
        let mut stream = TcpStream::connect((to, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut byte = [1];
        let times = (0..PINGS).map(|_| {
            let begin = Instant::now();
            stream.write_all(&byte).unwrap();
            stream.read_exact(&mut byte).unwrap();
            begin.elapsed().as_secs_f64() * 1e6
        });
        median(times.collect())
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A network namespace with a cable to it from a node that forwards, and nothing more: no table, no connection
/// tracking, no filter of sources.
fn plain_pod(node: &Netns, address: Ipv4Addr) -> Netns {
    const NEXT_HOP: &str = "169.254.1.1";
    const MACS: [&str; 2] = ["ee:ee:ee:ee:ee:ee", "02:00:00:00:00:01"];
    let (pod, address) = (Netns::new(), address.to_string());
    let peer = ["peer", "name", "eth0", "address", MACS[1], "netns", pod.name()];
    node.ip(&[&["link", "add", "pod", "address", MACS[0], "type", "veth"], &peer[..]].concat());
    node.ip(&["link", "set", "pod", "up"]);
    node.ip(&["route", "add", &address, "dev", "pod"]);
    node.ip(&["neighbour", "add", &address, "lladdr", MACS[1], "dev", "pod"]);
    node.run(&["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    node.run(&["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.pod.rp_filter=0"]);
    pod.ip(&["address", "add", &address, "dev", "eth0"]);
    pod.ip(&["link", "set", "eth0", "up"]);
    pod.ip(&["route", "add", NEXT_HOP, "dev", "eth0"]);
    pod.ip(&["neighbour", "add", NEXT_HOP, "lladdr", MACS[0], "dev", "eth0"]);
    pod.ip(&["route", "add", "default", "via", NEXT_HOP]);
    pod
}

/// Two such pods on two nodes at one switch: the links of `pod to pod, one LAN` without anything of ours.
struct Plain {
    _switch: Netns,
    nodes: [Netns; 2],
    pods: [Netns; 2],
}

impl Plain {
    const PODS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 44, 1, 2), Ipv4Addr::new(10, 44, 2, 2)];
    const TRACKED: &str = "table ip tracked { chain forward { type filter hook forward priority 0; \
                           ct state established accept; }; }";

    fn new() -> Self {
        let switch = switch();
        let nodes = [Netns::new(), Netns::new()];
        for (number, node) in nodes.iter().enumerate() {
            plug(node, "lan0", &switch, &format!("port{number}"), &format!("192.0.2.{}/24", number + 1));
        }
        let pods = [0, 1].map(|number| plain_pod(&nodes[number], Self::PODS[number]));
        nodes[0].ip(&["route", "add", "10.44.2.0/24", "via", "192.0.2.2"]);
        nodes[1].ip(&["route", "add", "10.44.1.0/24", "via", "192.0.2.1"]);
        Self { _switch: switch, nodes, pods }
    }

    /// The same with the least that makes the kernel track connections.
    fn tracked() -> Self {
        let plain = Self::new();
        plain.nodes.iter().for_each(|node| node.run(&["nft", Self::TRACKED]));
        plain
    }
}

#[tokio::test]
#[ignore = "it measures"]
async fn pods_acrossnodes_are_as_fast_as_thenodes_themselves() {
    let world = World::new();
    let networks = world.networks().await;
    let mut pods = Vec::new();
    for network in [&networks[A], &networks[B], &networks[D]] {
        let netns = Netns::new();
        let address = network.attach(&pod("pod", &netns, &[])).await.unwrap();
        pods.push((netns, address));
    }
    let [a, b, d] = pods.try_into().ok().unwrap();
    a.0.ip(&["link", "add", "bare", "type", "veth", "peer", "name", "bare", "netns", b.0.name()]);
    for (netns, address) in [(&a.0, "203.0.113.1/24"), (&b.0, "203.0.113.2/24")] {
        netns.ip(&["address", "add", address, "dev", "bare"]);
        netns.ip(&["link", "set", "bare", "up"]);
    }
    let (at_b, at_d) = (serve(&b.0), serve(&d.0));
    let (node_b, node_d) = (serve(&world.nodes[B].netns), serve(&world.nodes[D].netns));
    let node_a = &world.nodes[A].netns;
    let (plain, tracked) = (Plain::new(), Plain::tracked());
    let (at_plain, at_tracked) = (serve(&plain.pods[1]), serve(&tracked.pods[1]));
    let ways: [(&str, &Netns, Ipv4Addr, (u16, u16)); 7] = [
        ("a bare cable between the pods", &a.0, [203, 0, 113, 2].into(), at_b),
        ("the pods' way without Bramble", &plain.pods[0], Plain::PODS[1], at_plain),
        ("the same, connections tracked", &tracked.pods[0], Plain::PODS[1], at_tracked),
        ("node to node, one LAN", node_a, address(2), node_b),
        ("pod to pod, one LAN", &a.0, b.1, at_b),
        ("node to node, behind the router", node_a, address(4), node_d),
        ("pod to pod, through the overlay", &a.0, d.1, at_d),
    ];
    let mut figures = vec![(Vec::new(), Vec::new()); ways.len()];
    // In turns, so that the machine's other work falls on all alike.
    for _ in 0..ROUNDS {
        for ((_, from, to, (sink, echo)), (speeds, times)) in ways.iter().zip(&mut figures) {
            speeds.push(throughput(from, *to, *sink));
            times.push(latency(from, *to, *echo));
        }
    }
    let middles: Vec<_> = figures.into_iter().map(|(speeds, times)| (median(speeds), median(times))).collect();
    let (bare, plain) = (middles[0], middles[1]);
    println!("{:34} {:>6} Gbit/s (of bare, of without)   {:>5} us (of bare, of without)", "", "", "");
    for ((name, ..), (speed, time)) in ways.iter().zip(middles) {
        let of = |a: f64, b: f64, c: f64| format!("({:.2}, {:.2})", a / b, a / c);
        let (speeds, times) = (of(speed, bare.0, plain.0), of(time, bare.1, plain.1));
        println!("{name:34} {speed:6.2} Gbit/s {speeds}  {time:6.1} us {times}");
    }
}
