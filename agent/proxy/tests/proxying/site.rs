//! Namespaces, links and servers.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use agent_proxy::{Config, Proxy};
use nix::sched::{CloneFlags, setns};

static NEXT: AtomicU32 = AtomicU32::new(0);
pub const WAIT: Duration = Duration::from_secs(3);
pub const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const LAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 42, 7, 1);

/// A network namespace that goes with the value.
pub struct Netns(String);

impl Netns {
    pub fn new() -> Self {
        let name = format!("bramble-proxy-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name]);
        let netns = Self(name);
        netns.ip(&["link", "set", "lo", "up"]);
        netns
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }

    pub fn ip(&self, args: &[&str]) -> String {
        ip(&[&["-n", &self.0], args].concat())
    }

    pub fn nft(&self, args: &[&str]) -> String {
        let output = Command::new("ip").args(["netns", "exec", &self.0, "nft"]).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let path = self.path();
        std::thread::spawn(move || {
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
        .join()
        .unwrap()
    }

    /// Answers every connection and datagram with its own name and the address of who made it.
    pub fn serve(&self, name: &str, port: u16) {
        let at = (Ipv4Addr::UNSPECIFIED, port);
        let (listener, socket) = self.inside(move || (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap()));
        let text = name.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let text = text.clone();
                std::thread::spawn(move || answer(stream?, &text));
            }
        });
        let text = name.to_owned();
        std::thread::spawn(move || {
            while let Ok((_, peer)) = socket.recv_from(&mut [0; 64]) {
                let _ = socket.send_to(format!("{text} {}", peer.ip()).as_bytes(), peer);
            }
        });
    }

    /// Who answers at this address, and whom it takes us for.
    pub fn ask(&self, address: Ipv4Addr, port: u16) -> io::Result<String> {
        self.inside(move || connect(address, port)?.ask())
    }

    pub fn ask_by_udp(&self, address: Ipv4Addr, port: u16) -> io::Result<String> {
        self.inside(move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((address, port))?;
            ask_udp(&socket)
        })
    }

    /// Asks many times; answers with the names that answered, sorted, each once.
    pub fn ask_many(&self, address: Ipv4Addr, port: u16) -> Vec<String> {
        self.inside(move || {
            let mut names: Vec<String> = (0..40).map(|_| connect(address, port).unwrap().ask().unwrap()).collect();
            names.iter_mut().for_each(|name| name.truncate(name.find(' ').unwrap()));
            names.sort();
            names.dedup();
            names
        })
    }
}

fn answer(mut stream: TcpStream, name: &str) -> io::Result<()> {
    let peer = stream.peer_addr()?.ip();
    stream.set_nodelay(true)?;
    while stream.read(&mut [0; 1])? == 1 {
        stream.write_all(format!("{name} {peer}\n").as_bytes())?;
    }
    Ok(())
}

/// A connection that can be asked again and again.
pub struct Asker {
    pub stream: TcpStream,
    pub asked: usize,
}

pub fn connect(address: Ipv4Addr, port: u16) -> io::Result<Asker> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_nodelay(true)?;
    Ok(Asker { stream, asked: 0 })
}

impl Asker {
    pub fn ask(&mut self) -> io::Result<String> {
        self.asked += 1;
        self.stream.write_all(b"?")?;
        let mut text = Vec::new();
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            if byte[0] == b'\n' {
                return Ok(String::from_utf8(text).unwrap());
            }
            text.push(byte[0]);
        }
    }
}

pub fn ask_udp(socket: &UdpSocket) -> io::Result<String> {
    socket.set_read_timeout(Some(WAIT))?;
    socket.send(b"?")?;
    let mut buffer = [0; 64];
    let count = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
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

/// A node with a LAN at its side and pods: 192.0.2.1 is the node, 192.0.2.2 the other machine.
pub struct Site {
    pub node: Netns,
    pub lan: Netns,
    pub pods: Vec<Netns>,
}

impl Site {
    pub fn new(pods: u8) -> Self {
        let (node, lan) = (Netns::new(), Netns::new());
        node.ip(&["link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", &lan.0]);
        for (netns, address) in [(&node, "192.0.2.1/24"), (&lan, "192.0.2.2/24")] {
            netns.ip(&["address", "add", address, "dev", "lan0"]);
            netns.ip(&["link", "set", "lan0", "up"]);
        }
        node.ip(&["route", "add", "default", "via", "192.0.2.2"]);
        lan.ip(&["route", "add", "default", "via", "192.0.2.1"]);
        node.inside(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        let mut site = Self { node, lan, pods: Vec::new() };
        for index in 0..pods {
            site.add_pod(index);
        }
        site
    }

    fn add_pod(&mut self, index: u8) {
        let (pod, link) = (Netns::new(), format!("pod{index}"));
        let address = format!("{}/32", pod_address(index));
        self.node.ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &pod.0]);
        self.node.ip(&["address", "add", &format!("{GATEWAY}/32"), "dev", &link]);
        self.node.ip(&["link", "set", &link, "up"]);
        pod.ip(&["address", "add", &address, "dev", "eth0"]);
        pod.ip(&["link", "set", "eth0", "up"]);
        pod.ip(&["route", "add", &format!("{GATEWAY}/32"), "dev", "eth0"]);
        pod.ip(&["route", "add", "default", "via", &GATEWAY.to_string()]);
        self.node.ip(&["route", "add", &address, "dev", &link]);
        pod.serve(&format!("pod{index}"), 8080);
        self.pods.push(pod);
    }

    pub fn config(&self) -> Config {
        Config {
            node: "0123abcd".into(),
            node_name: "here".into(),
            cluster_range: "10.42.0.0/16".parse().unwrap(),
            service_range: "10.43.0.0/16".parse().unwrap(),
            local_services: vec![Ipv4Addr::new(10, 43, 0, 10)],
            netns: Some(self.node.path()),
        }
    }

    /// A proxy that has been told nothing yet, and is not held.
    pub fn proxy(&self) -> Proxy {
        let proxy = Proxy::start(self.config()).unwrap();
        proxy.release();
        proxy
    }
}

pub fn pod_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 42, 7, 2 + index)
}

/// Waits until it holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}
