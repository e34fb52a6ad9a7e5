//! Network namespaces that go with the test that made them.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use agent_network::{Identity, PodNetwork, PortMapping};
use nix::sched::{CloneFlags, setns};

static NEXT: AtomicU32 = AtomicU32::new(0);
pub const WAIT: Duration = Duration::from_secs(3);

/// A pod in a namespace, of which policies know nothing more.
pub fn pod(uid: &str, netns: &Netns, ports: &[PortMapping]) -> PodNetwork {
    PodNetwork { uid: uid.into(), identity: Identity::default(), netns: netns.path(), ports: ports.to_vec() }
}

/// A network namespace that goes with the value.
pub struct Netns(String);

impl Netns {
    pub fn new() -> Self {
        let name = format!("bramble-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name]);
        let netns = Self(name);
        netns.ip(&["link", "set", "lo", "up"]);
        netns
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }

    pub fn ip(&self, args: &[&str]) -> String {
        ip(&[&["-n", &self.0], args].concat())
    }

    pub fn nft(&self) -> String {
        let output = Command::new("ip").args(["netns", "exec", &self.0, "nft", "list", "ruleset"]).output().unwrap();
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

    /// Answers every connection with the address of who made it.
    pub fn serve(&self, port: u16) {
        let listener = self.inside(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream.peer_addr().unwrap().ip().to_string();
                stream.write_all(peer.as_bytes()).unwrap();
            }
        });
    }

    /// Answers every datagram with the address of who sent it.
    pub fn echo(&self, port: u16) {
        let socket = self.inside(move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        std::thread::spawn(move || {
            while let Ok((_, peer)) = socket.recv_from(&mut [0; 64]) {
                let _ = socket.send_to(peer.ip().to_string().as_bytes(), peer);
            }
        });
    }

    pub fn ask_by_datagram(&self, address: Ipv4Addr, port: u16) -> std::io::Result<String> {
        self.inside(move || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            socket.connect((address, port))?;
            socket.send(b"?")?;
            let mut bytes = [0; 64];
            let count = socket.recv(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
        })
    }

    /// Who the server at this address takes us for.
    pub fn ask(&self, address: Ipv4Addr, port: u16) -> std::io::Result<String> {
        self.ask_within(address, port, WAIT)
    }

    /// The same for those who count on an answer, however busy the machine is.
    pub fn ask_patiently(&self, address: Ipv4Addr, port: u16) -> std::io::Result<String> {
        self.ask_within(address, port, WAIT * 10)
    }

    /// The same for those who ask again, or count on silence.
    pub fn ask_briefly(&self, address: Ipv4Addr, port: u16) -> std::io::Result<String> {
        self.ask_within(address, port, Duration::from_millis(500))
    }

    fn ask_within(&self, address: Ipv4Addr, port: u16, wait: Duration) -> std::io::Result<String> {
        self.inside(move || {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), wait)?;
            stream.set_read_timeout(Some(wait))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
    }

    /// Whether a packet of this many bytes arrives in one piece; what is told on the way is heeded.
    pub fn datagram_arrives(&self, other: &Self, address: Ipv4Addr, bytes: usize) -> bool {
        let receiver = other.inside(move || UdpSocket::bind((address, 0)).unwrap());
        receiver.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let to = receiver.local_addr().unwrap();
        self.inside(move || {
            let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
            setsockopt_mtu(&sender);
            sender.connect(to).unwrap();
            // The first may be lost to the news that it is too large; headers are 28 bytes.
            for _ in 0..3 {
                let sent = sender.send(&vec![7; bytes - 28]);
                if sent.is_ok() && receiver.recv(&mut [0; 9000]).is_ok_and(|count| count == bytes - 28) {
                    return true;
                }
            }
            false
        })
    }

    pub fn run(&self, command: &[&str]) {
        ip(&[&["netns", "exec", &self.0], command].concat());
    }

    /// Follows the changes of routes.
    pub fn monitor(&self) -> Monitor {
        let mut child = Command::new("ip")
            .args(["-n", &self.0, "-4", "monitor", "route"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(output) {
                let _ = tell.send(line.unwrap());
            }
        });
        // It listens when it tells of a change.
        while told.try_recv().is_err() {
            self.ip(&["route", "replace", "192.0.2.200", "dev", "lo"]);
            self.ip(&["route", "del", "192.0.2.200", "dev", "lo"]);
        }
        let mut monitor = Monitor { child, told };
        monitor.lines_until(self, "192.0.2.201");
        monitor
    }
}

/// Nothing that it sends is cut in pieces.
#[allow(unsafe_code, reason = "no library has this option")]
fn setsockopt_mtu(socket: &UdpSocket) {
    let value = libc::IP_PMTUDISC_DO;
    let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap();
    // SAFETY: the value is a C int that outlives the call, of the length given.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, (&raw const value).cast(), length)
    };
    assert_eq!(done, 0);
}

pub struct Monitor {
    child: std::process::Child,
    told: std::sync::mpsc::Receiver<String>,
}

impl Monitor {
    /// What changed before a route to `mark`, which is used once, comes and goes.
    pub fn lines_until(&mut self, netns: &Netns, mark: &str) -> Vec<String> {
        netns.ip(&["route", "add", mark, "dev", "lo"]);
        netns.ip(&["route", "del", mark, "dev", "lo"]);
        let line = || self.told.recv_timeout(WAIT * 10).expect("the mark is told");
        let last = |line: &String| line.contains(mark) && line.starts_with("Deleted");
        let lines: Vec<String> = std::iter::repeat_with(line).take_while(|line| !last(line)).collect();
        lines.into_iter().filter(|line| !line.contains(mark)).collect()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
