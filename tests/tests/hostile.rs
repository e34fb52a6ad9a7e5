//! A server that means harm, or is broken, as an agent meets it: pods go on, and the agent is back once the server is good.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use control_pki::Pki;
use control_wire::codec::encode;
use control_wire::frame::Welcome;
use control_wire::{Accepted, Arrival, Listener, NodeNetwork, NodeStream, PROTOCOL, Session, Sync, SyncSink};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use serde_json::{Value, json};
use tests::lab::{DEMO, Lab};
use tests::process::Processes;
use tests::program::eventually;
use tokio::sync::oneshot;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(60);
/// What such a server may cost the agent's memory, without objects and with as many as a node keeps.
const GROWN_KIB_MAX: u64 = 32 << 10;
const FULL_KIB_MAX: u64 = (2 * 64 + 32) << 10;
/// Streams opened one after the other.
const STREAMS: usize = 1000;
/// The second byte of an opening: which it is.
const SYNC: u8 = 2;

/// What a connection with the cluster's own certificate comes to.
#[derive(Clone, Copy, PartialEq)]
enum Act {
    Nonsense,
    TooLong,
    OtherNetwork,
    Silence,
    NoStream,
    NonsenseForState,
    TooLongForState,
    StreamsWithoutEnd,
    NoAnswers,
}

/// One connection after the other, with the agent's words for it.
const ACTS: [(Act, &str); 9] = [
    (Act::Nonsense, "server did not finish the greeting: frame cannot be read"),
    (Act::TooLong, "server did not finish the greeting: frame of 4294967295 bytes is over the limit of 2097152"),
    (Act::OtherNetwork, "server tells of a network that cannot be: the node's pod range is"),
    (Act::Silence, "server did not finish the greeting: peer did not answer within 10 s"),
    (Act::NoStream, "connection to the server ended error=\"peer did not answer within 10 s"),
    (Act::NonsenseForState, "connection to the server ended error=\"frame cannot be read"),
    (
        Act::TooLongForState,
        "connection to the server ended error=\"frame of 2097153 bytes is over the limit of 2097152",
    ),
    (Act::StreamsWithoutEnd, "one request after the other that cannot be read"),
    (Act::NoAnswers, "connection to the server ended error=\"the server does not answer"),
];

/// A thread in the server's place on the LAN; gone when dropped.
struct Impostor {
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Impostor {
    fn start<F: Future<Output = ()>>(lab: &Lab, play: impl FnOnce() -> F + Send + 'static) -> Self {
        let place = File::open(format!("/run/netns/{}", lab.server_network().name())).unwrap();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            setns(place, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = play() => {}
                    _ = ended => {}
                }
            });
        });
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || !matches!(ended, Some(Err(_))), "the impostor fell out of its role");
    }
}

fn framed(frame: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes).unwrap();
    bytes
}

fn over(limit: u32) -> Vec<u8> {
    [&(limit + 1).to_le_bytes()[..], &[0; 64]].concat()
}

const NONSENSE: [u8; 14] = [10, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// quinn's own server, which gives a peer one stream.
fn endpoint(tls: Arc<rustls::ServerConfig>, address: SocketAddr) -> Endpoint {
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let mut transport = quinn::TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(1));
    config.transport_config(Arc::new(transport));
    Endpoint::server(config, address).unwrap()
}

/// Lets nobody further than the handshake.
async fn shows_another_certificate(address: SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = endpoint(Pki::open(folder.path(), &[]).unwrap().quic_config(), address);
    while let Some(incoming) = endpoint.accept().await {
        let _refused = incoming.await;
    }
}

async fn plays(pki: PathBuf, address: SocketAddr, accepted: Accepted) {
    let endpoint = endpoint(Pki::open(&pki, &[]).unwrap().quic_config(), address);
    for (act, words) in ACTS {
        let connection = loop {
            if let Ok(connection) = endpoint.accept().await.unwrap().await {
                break connection;
            }
        };
        let _open = timeout(LIMIT, play(act, &connection, &accepted)).await.expect(words);
        timeout(LIMIT, connection.closed()).await.expect(words);
    }
}

/// What it opens is to be held until the agent has had enough.
async fn play(act: Act, connection: &Connection, accepted: &Accepted) -> Vec<(SendStream, RecvStream)> {
    let (mut writer, reader) = connection.accept_bi().await.unwrap();
    let mut told = accepted.clone();
    if act == Act::OtherNetwork {
        "../..".clone_into(&mut told.network.pod_range);
    }
    let greeting = match act {
        Act::Nonsense => NONSENSE.to_vec(),
        Act::TooLong => u32::MAX.to_le_bytes().to_vec(),
        Act::Silence => Vec::new(),
        _ => framed(&Welcome::Accepted(told)),
    };
    writer.write_all(&greeting).await.unwrap();
    let mut open = vec![(writer, reader)];
    if matches!(act, Act::Nonsense | Act::TooLong | Act::OtherNetwork | Act::Silence | Act::NoStream) {
        return open;
    }
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(8));
    for _ in 0..2 {
        let (mut writer, mut reader) = connection.accept_bi().await.unwrap();
        let mut head = [0; 5];
        reader.read_exact(&mut head).await.unwrap();
        match act {
            Act::NonsenseForState if head[4] == SYNC => writer.write_all(&NONSENSE).await.unwrap(),
            Act::TooLongForState if head[4] == SYNC => writer.write_all(&over(2 << 20)).await.unwrap(),
            _ => {}
        }
        open.push((writer, reader));
    }
    let streams = if act == Act::StreamsWithoutEnd { STREAMS } else { 0 };
    for _ in 0..streams {
        // At some time the agent has enough of them.
        let Ok((mut writer, reader)) = connection.open_bi().await else { break };
        let _cut_off = writer.write_all(&NONSENSE).await;
        open.push((writer, reader));
    }
    open
}

/// The real protocol, and objects that cannot be.
async fn tells_what_cannot_be(pki: PathBuf, address: SocketAddr, accepted: Accepted, canary: PathBuf) {
    let pki = Pki::open(&pki, &[]).unwrap();
    let mut listener = Listener::bind(address, pki.quic_config(), &pki.quic_secret()).unwrap();
    while let Some(arrival) = listener.accept().await {
        let Arrival::Node(node) = arrival else { continue };
        if let Ok(session) = node.accept(accepted.clone()).await {
            tokio::spawn(serve(session, canary.clone()));
        }
    }
}

async fn serve(session: Session, canary: PathBuf) {
    while let Ok(stream) = session.accept().await {
        match stream {
            NodeStream::Sync { sink, .. } => drop(tokio::spawn(tell(sink, canary.clone()))),
            NodeStream::Report(mut source) => drop(tokio::spawn(async move {
                while let Ok(Some(_)) = source.next().await {
                    let _ended = source.taken().await;
                }
            })),
            NodeStream::Renew(..) | NodeStream::Token(..) => {}
        }
    }
}

async fn tell(mut sink: SyncSink, canary: PathBuf) {
    let put = |resource: &str, name: &str, json: Vec<u8>| {
        let (resource, namespace, name) = (resource.to_owned(), "default".to_owned(), name.to_owned());
        Sync::Put { resource, namespace, name, revision: 1, json }
    };
    let mut frames = vec![Sync::Reset { epoch: 666 }];
    for (name, pod) in climbing(&canary) {
        frames.push(put("pods", &name, pod.to_string().into_bytes()));
    }
    // A way leads on only from a folder that is there.
    frames.push(put("secrets", "good", b"{}".to_vec()));
    let absurd = fs::read("fuzz/seeds/pod/absurd").unwrap();
    frames.push(put("pods", "web", absurd));
    for resource in ["pods", "services", "endpointslices", "networkpolicies", "nodes", "peers", "secrets", "../etc"] {
        for (name, json) in
            [("torn", &b"{\"metadata\": "[..]), ("null", b"null"), ("../../../list", b"[]"), ("", b"{}")]
        {
            frames.push(put(resource, name, json.to_vec()));
        }
    }
    frames.push(Sync::Delete {
        resource: "pods".to_owned(),
        namespace: "..".to_owned(),
        name: "../..".to_owned(),
        revision: 1,
    });
    for frame in &frames {
        sink.send(frame).await.unwrap();
    }
    // Without an end: each is as large as a frame may be.
    let large = "x".repeat(2_000_000);
    for number in 0.. {
        let name = format!("large-{number}");
        let secret = json!({"metadata": {"name": name, "namespace": "default"}, "data": {"a": large}});
        let told = sink.send(&put("secrets", &name, secret.to_string().into_bytes())).await;
        if told.is_err() {
            return;
        }
    }
}

/// Pods whose names are ways, none of which leads out of the lab's own folder: an agent that went them would not come back
/// from the machine's.
fn climbing(canary: &Path) -> Vec<(String, Value)> {
    let ways = ["..", "../..", "../../../n1/canary", canary.to_str().unwrap(), "", "."];
    let pod = |name: &str, uid: &str, container: &str, volume: &str| {
        json!({"metadata": {"name": name, "namespace": "default", "uid": uid}, "spec": {
            "containers": [{"name": container, "image": DEMO, "volumeMounts": [{"name": volume, "mountPath": "/v"}]}],
            "volumes": [{"name": volume, "emptyDir": {}}]}})
    };
    let mut pods = Vec::new();
    for (number, way) in ways.into_iter().enumerate() {
        let name = format!("climbs-{number}");
        pods.extend([
            (name.clone(), pod(&name, way, "main", "data")),
            (name.clone(), pod(&name, "c0", way, "data")),
            (name.clone(), pod(&name, "c1", "main", way)),
            (way.to_owned(), pod(way, "c2", "main", "data")),
            (name.clone(), pod("another", "c3", "main", "data")),
        ]);
    }
    pods
}

/// The only node of a lab, and what is to be so on it whatever the server does.
struct Node {
    agent: String,
    httpd: BTreeSet<i32>,
    resident_kib: u64,
}

impl Node {
    fn of(lab: &Lab) -> Self {
        let machine = &lab.nodes[0];
        let agent = fs::read_to_string(machine.data().join("agent.pid")).unwrap().trim().to_owned();
        let status = fs::read_to_string(format!("/proc/{agent}/status")).expect("the agent runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let data = machine.data().display().to_string();
        let processes = Processes::now();
        let ours = processes.iter().filter(|(pid, one)| one.name == "httpd" && processes.descends(**pid, &data));
        let httpd = ours.map(|(pid, _)| *pid).collect();
        Self { agent, httpd, resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap() }
    }

    /// The same agent with the same pods, and not much larger.
    fn goes_on(&self, lab: &Lab, grown_kib_max: u64) {
        let now = Self::of(lab);
        assert_eq!((&now.agent, &now.httpd), (&self.agent, &self.httpd));
        let grown = now.resident_kib.saturating_sub(self.resident_kib);
        eprintln!("the agent has grown by {grown} KiB from {}", self.resident_kib);
        assert!(grown < grown_kib_max, "the agent has grown by {grown} KiB");
    }
}

/// What lies in the folders that a way out of the agent's own would come by, and in the canary's.
fn surroundings(lab: &Lab, canary: &Path) -> Vec<PathBuf> {
    let data = lab.nodes[0].data();
    let folders = [lab.path(), &lab.path().join("n1"), &data, &data.join("agent"), canary];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    // On its way to another name.
    all.retain(|path| path.extension().is_none_or(|end| end != "new"));
    all.sort();
    all
}

fn says(lab: &Lab, words: &str) {
    eventually(words, 60, || lab.nodes[0].log().contains(words));
}

#[test]
fn whatever_a_server_says_pods_go_on_and_the_agent_comes_back_to_a_good_one() {
    let mut lab = Lab::start(1);
    lab.k(&format!("run stays --image={DEMO}")).ok();
    lab.k("wait pod stays --for=condition=Ready --timeout=60s").ok();
    let canary = lab.path().join("n1/canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("song"), "la").unwrap();
    let node = Node::of(&lab);
    assert_eq!(node.httpd.len(), 1);
    let (address, pki) = (SocketAddr::new(lab.server_address.parse().unwrap(), 6443), lab.data().join("pki"));
    let text = |text: &str| text.to_owned();
    let network = NodeNetwork {
        pod_range: lab.field("node n1", "{.spec.podCIDR}"),
        cluster_range: text("10.42.0.0/16"),
        service_range: text("10.43.0.0/16"),
        dns: text("10.43.0.10"),
        domain: text("cluster.local"),
        secret: [0; 32],
    };
    let accepted =
        Accepted { protocol: PROTOCOL, server_version: text("0"), server_time_ms: 0, network, servers: Vec::new() };
    lab.stop_server(Signal::SIGTERM);

    let impostor = Impostor::start(&lab, move || shows_another_certificate(address));
    says(&lab, "is not of this node's cluster");
    node.goes_on(&lab, GROWN_KIB_MAX);
    drop(impostor);

    let (folder, told) = (pki.clone(), accepted.clone());
    let impostor = Impostor::start(&lab, move || plays(folder, address, told));
    for (_, words) in ACTS {
        says(&lab, words);
        node.goes_on(&lab, GROWN_KIB_MAX);
    }
    drop(impostor);

    let before = surroundings(&lab, &canary);
    let way = canary.clone();
    let impostor = Impostor::start(&lab, move || tells_what_cannot_be(pki, address, accepted, way));
    says(&lab, "is no name of that kind");
    says(&lab, "it is told under another name than its own");
    says(&lab, "the server tells of more than the 64 MiB that this node keeps");
    node.goes_on(&lab, FULL_KIB_MAX);
    drop(impostor);
    assert_eq!(surroundings(&lab, &canary), before);
    assert_eq!(fs::read_to_string(canary.join("song")).unwrap(), "la");
    let secrets = lab.nodes[0].data().join("agent/cache/secrets/default");
    let kept = || fs::read_dir(&secrets).unwrap().count();
    assert!(kept() > 0);

    lab.start_server();
    lab.wait_server();
    lab.k(&format!("run new --image={DEMO}")).ok();
    lab.k("wait pod new --for=condition=Ready --timeout=120s").ok();
    eventually("what the good server does not tell of is gone", 60, || kept() == 0);
    assert_eq!(lab.field("pod stays", "{.status.containerStatuses[0].restartCount}"), "0");
    assert_eq!(lab.k("get pods -o name").ok().lines().collect::<Vec<_>>(), ["pod/new", "pod/stays"]);
    let now = Node::of(&lab);
    assert!(now.agent == node.agent && now.httpd.is_superset(&node.httpd), "they never ended");
}
