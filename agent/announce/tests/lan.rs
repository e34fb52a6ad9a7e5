//! Announcers on three machines of one LAN, seen by a fourth: real sockets, real ARP.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use agent_announce::{Announcer, Config, NodeInfo};
use control_api::view::core::Service;
use nix::sched::{CloneFlags, setns};

static COUNT: AtomicU32 = AtomicU32::new(0);
const ADDRESS: &str = "192.168.78.240";

fn run(program: &str, words: &str) -> (bool, String) {
    let output = Command::new(program).args(words.split_whitespace()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A bridge in a namespace of its own; dropped with everything in it.
struct Lan {
    name: String,
}

impl Lan {
    fn create() -> Self {
        let name = format!("bra{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        assert!(run("ip", &format!("netns add {name}")).0);
        let lan = Self { name };
        lan.ip("link add br0 type bridge");
        lan.ip("addr add 192.168.78.254/24 dev br0");
        lan.ip("link set br0 up");
        lan
    }

    fn ip(&self, words: &str) {
        assert!(run("ip", &format!("-n {} {words}", self.name)).0, "{words}");
    }

    /// The MAC that answers for the address, as somebody on the LAN learns it now.
    fn owner(&self) -> Option<String> {
        let words = format!("netns exec {} busybox arping -f -c 1 -w 1 -I br0 {ADDRESS}", self.name);
        let (_, said) = run("ip", &words);
        Some(said.split_once('[')?.1.split_once(']')?.0.to_owned())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        run("ip", &format!("netns del {}", self.name));
    }
}

enum Word {
    Service(Box<Service>),
}

/// A namespace with an announcer in a thread.
struct Node {
    namespace: String,
    words: Option<Sender<Word>>,
    thread: Option<std::thread::JoinHandle<()>>,
    mac: String,
}

fn nodes(count: u8) -> Vec<NodeInfo> {
    let node =
        |n: u8| NodeInfo { name: format!("n{n}"), addresses: vec![Ipv4Addr::new(192, 168, 78, n)], excluded: false };
    (1..=count).map(node).collect()
}

impl Node {
    fn start(lan: &Lan, number: u8, all: Vec<NodeInfo>) -> Self {
        let namespace = format!("{}n{number}", lan.name);
        assert!(run("ip", &format!("netns add {namespace}")).0);
        lan.ip(&format!("link add p{number} type veth peer name eth0 netns {namespace}"));
        lan.ip(&format!("link set p{number} master br0 up"));
        for words in ["link set lo up", "link set eth0 up", &format!("addr add 192.168.78.{number}/24 dev eth0")] {
            assert!(run("ip", &format!("-n {namespace} {words}")).0, "{words}");
        }
        let (_, link) = run("ip", &format!("-n {namespace} -br link show eth0"));
        let mac = link.split_whitespace().nth(2).unwrap().to_owned();
        let (words, inbox) = channel();
        let path = format!("/run/netns/{namespace}");
        let thread = std::thread::spawn(move || {
            setns(std::fs::File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(number, all, inbox));
        });
        Self { namespace, words: Some(words), thread: Some(thread), mac }
    }

    fn tell(&self, service: &Service) {
        self.words.as_ref().unwrap().send(Word::Service(Box::new(service.clone()))).unwrap();
    }

    fn stop(&mut self) {
        drop(self.words.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
        run("ip", &format!("netns del {}", self.namespace));
    }
}

async fn serve(number: u8, all: Vec<NodeInfo>, inbox: Receiver<Word>) {
    let announcer = Announcer::start(Config { node_name: format!("n{number}"), secret: [5; 32], port: 6444 });
    announcer.set_nodes(all);
    let (sender, mut words) = tokio::sync::mpsc::channel(8);
    let pump = tokio::task::spawn_blocking(move || {
        while let Ok(word) = inbox.recv() {
            sender.blocking_send(word).unwrap();
        }
    });
    while let Some(Word::Service(service)) = words.recv().await {
        announcer.put_service(&service);
    }
    pump.await.unwrap();
}

fn service() -> Service {
    let text = format!(
        r#"{{"metadata":{{"namespace":"default","name":"web"}},"spec":{{"type":"LoadBalancer"}},
            "status":{{"loadBalancer":{{"ingress":[{{"ip":"{ADDRESS}"}}]}}}}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn wait<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
    }
}

#[test]
fn one_node_answers_and_another_takes_over_when_it_is_lost_and_keeps_it() {
    let lan = Lan::create();
    let mut machines: Vec<Node> = (1..=3).map(|number| Node::start(&lan, number, nodes(3))).collect();
    assert_eq!(lan.owner(), None, "nothing is announced without a Service");
    machines.iter().for_each(|node| node.tell(&service()));
    let first = wait("somebody answers", Duration::from_secs(10), || lan.owner());
    let at = machines.iter().position(|node| node.mac == first).unwrap();
    let answer = || wait("somebody answers", Duration::from_secs(10), || lan.owner());
    for _ in 0..3 {
        assert_eq!(answer(), first, "one node, and the same one");
    }
    machines[at].stop();
    let lost = Instant::now();
    let second = wait("another takes over", Duration::from_secs(30), || lan.owner().filter(|owner| *owner != first));
    println!("moved in {} ms, pings of a second's patience included", lost.elapsed().as_millis());

    let number = u8::try_from(at + 1).unwrap();
    machines.remove(at);
    let again = Node::start(&lan, number, nodes(3));
    again.tell(&service());
    std::thread::park_timeout(Duration::from_secs(3));
    assert_eq!(answer(), second, "a node that comes back takes nothing away");
}
