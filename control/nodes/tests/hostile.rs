//! Peers of the port for agents that mean harm, or are broken: strangers, and nodes with a certificate.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use control_api::resource::NAMESPACES;
use control_apiserver::{Api, User};
use control_client::Client;
use control_nodes::{Nodes, NodesConfig};
use control_pki::{Pki, TokenLimits};
use control_store::MemoryStore;
use control_wire::codec::encode;
use control_wire::frame::{GREETING_FRAME_BYTES_MAX, Opening, PROTOCOL, STRANGER_FRAME_BYTES_MAX, Welcome};
use control_wire::trust::{ALPN, SERVER_NAME, provider};
use control_wire::{Hello, Identity, Link, Listener, NodeKey, Report};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);
/// More than the server lets in at one time.
const CROWD: usize = 300;

struct Cluster {
    _folder: tempfile::TempDir,
    pki: Arc<Pki>,
    _nodes: Arc<Nodes>,
    address: SocketAddr,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Arc::new(Pki::open(folder.path(), &[]).unwrap());
        let api = Api::new(Arc::new(MemoryStore::default()));
        let client = Client::new(api, User::system("system:bramble-nodes"));
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-node-lease"}});
        client.create(&NAMESPACES, "", namespace).await.unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), pki.quic_config(), &[7; 32]).unwrap();
        let address = listener.local_address().unwrap();
        let nodes = Nodes::start(client, pki.clone(), listener, NodesConfig::default());
        Self { _folder: folder, pki, _nodes: nodes, address }
    }

    async fn join(&self, name: &str) -> Identity {
        let token = self.pki.tokens().create(vec![self.address.to_string()], TokenLimits::default()).unwrap();
        Link::join(&token, name, &NodeKey::generate().unwrap()).await.unwrap().0
    }

    /// A node joins and greets, and its reports are taken: what all others must not disturb.
    async fn serves(&self, name: &str) -> Link {
        let work = async {
            let identity = self.join(name).await;
            let link = Link::connect(&identity.addresses, &identity, hello(name)).await.unwrap().0;
            is_heard(&link).await;
            link
        };
        tokio::time::timeout(LIMIT, work).await.expect("a node is served")
    }

    /// quinn's own client: it believes the CA, and shows a certificate or none.
    fn endpoint(&self, from: &str, shown: Option<&Identity>) -> Endpoint {
        self.speaking(from, shown, ALPN)
    }

    fn speaking(&self, from: &str, shown: Option<&Identity>, protocol: &[u8]) -> Endpoint {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(self.pki.ca().to_vec())).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.der().to_vec()));
                let chain = vec![CertificateDer::from(identity.certificate.clone())];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let mut endpoint = Endpoint::client(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        endpoint
            .set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap())));
        endpoint
    }

    async fn dial(&self, endpoint: &Endpoint) -> Connection {
        endpoint.connect(self.address, SERVER_NAME).unwrap().await.unwrap()
    }
}

fn hello(name: &str) -> Hello {
    let node = json!({"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let (node_name, agent_version, platform) = (name.to_owned(), "0".to_owned(), "linux/arm64".to_owned());
    Hello { protocol: PROTOCOL, node_name, agent_version, platform, node: node.to_string().into_bytes() }
}

async fn is_heard(link: &Link) {
    let mut reports = link.report().await.unwrap();
    reports.send(&Report::Heartbeat { time_ms: 0 }).await.unwrap();
    tokio::time::timeout(LIMIT, reports.flushed()).await.expect("a heartbeat is taken").unwrap();
}

fn framed(frame: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes).unwrap();
    bytes
}

/// The words with which the server ends a connection on which these bytes were sent.
async fn told(connection: &Connection, bytes: &[u8], finish: bool) -> String {
    let (mut writer, _reader) = connection.open_bi().await.unwrap();
    let _cut_off = writer.write_all(bytes).await;
    if finish {
        let _closed = writer.finish();
    }
    match tokio::time::timeout(LIMIT, connection.closed()).await.expect("the connection ends") {
        ConnectionError::ApplicationClosed(close) => String::from_utf8_lossy(&close.reason).into_owned(),
        other => panic!("{other}"),
    }
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_greeting_ends_its_connection_with_the_reason() {
    let cluster = Cluster::start().await;
    let link = cluster.serves("good").await;
    let stranger = cluster.endpoint("127.0.0.1", None);
    let node = cluster.join("bad").await;
    let known = cluster.endpoint("127.0.0.1", Some(&node));
    let over = |limit: usize| [&(u32::try_from(limit).unwrap() + 1).to_le_bytes()[..], &[0; 64]].concat();
    let half = framed(&Opening::Hello(hello("bad")));
    let half = &half[..half.len() - 1];
    for (endpoint, bytes, words) in [
        (&stranger, vec![9, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "frame cannot be read"),
        (&stranger, u32::MAX.to_le_bytes().to_vec(), "frame of 4294967295 bytes is over the limit of 16384"),
        (&stranger, over(STRANGER_FRAME_BYTES_MAX), "is over the limit of 16384"),
        (&known, over(GREETING_FRAME_BYTES_MAX), "is over the limit of 262144"),
        (&known, half.to_vec(), "stream ended in the middle of a frame"),
        (&known, Vec::new(), "peer closed the stream"),
        (&stranger, framed(&Opening::Hello(hello("bad"))), "a node certificate is needed"),
        (&known, framed(&Opening::Report), "a greeting comes first"),
    ] {
        let connection = cluster.dial(endpoint).await;
        let found = told(&connection, &bytes, true).await;
        assert!(found.contains(words), "wanted {words}, told {found}");
    }
    is_heard(&link).await;
    cluster.serves("another").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_ca_another_protocol_and_another_name_are_refused() {
    let (cluster, other) = (Cluster::start().await, Cluster::start().await);
    let foreign = other.join("one").await;
    let endpoint = cluster.endpoint("127.0.0.1", Some(&foreign));
    // The handshake may end on this side before the server has judged the certificate.
    let ended = match endpoint.connect(cluster.address, SERVER_NAME).unwrap().await {
        Ok(connection) => tokio::time::timeout(LIMIT, connection.closed()).await.expect("it ends"),
        Err(error) => error,
    };
    assert!(matches!(ended, ConnectionError::ConnectionClosed(_)), "{ended}");
    let endpoint = cluster.speaking("127.0.0.1", None, b"other");
    let ended = endpoint.connect(cluster.address, SERVER_NAME).unwrap().await.unwrap_err();
    assert!(matches!(ended, ConnectionError::ConnectionClosed(_)), "{ended}");
    // A greeting for another node, and one of another version.
    let own = cluster.join("one").await;
    let endpoint = cluster.endpoint("127.0.0.1", Some(&own));
    let old = Hello { protocol: PROTOCOL + 1, ..hello("one") };
    for (greeting, words) in [(hello("two"), "the certificate is for node one"), (old, "bring both to one version")] {
        let connection = cluster.dial(&endpoint).await;
        let (mut writer, mut reader) = connection.open_bi().await.unwrap();
        writer.write_all(&framed(&Opening::Hello(greeting))).await.unwrap();
        let answer = tokio::time::timeout(LIMIT, reader.read_to_end(4096)).await.expect("an answer").unwrap();
        let answer = control_wire::codec::decode::<Welcome>(&mut answer.as_slice().into()).unwrap().unwrap();
        let Welcome::Refused { message } = answer else { panic!("{answer:?}") };
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_strangers_that_say_nothing_holds_up_nobody_elsewhere_and_fills_no_memory() {
    let cluster = Cluster::start().await;
    let link = cluster.serves("good").await;
    let before = resident_bytes();
    // A second address of this machine.
    let endpoint = cluster.endpoint("127.0.0.2", None);
    let mut dials = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        let (endpoint, address) = (endpoint.clone(), cluster.address);
        dials.spawn(async move { endpoint.connect(address, SERVER_NAME).unwrap().await });
    }
    let mut crowd = Vec::new();
    while let Some(dialed) = dials.join_next().await {
        // Those that are too many at one time are refused.
        crowd.extend(dialed.unwrap());
    }
    // Each sends as much as it can, of a greeting that never ends, and would open streams without end.
    let mut writers = Vec::new();
    for connection in &crowd {
        let Ok(Ok((mut writer, _reader))) = tokio::time::timeout(LIMIT, connection.open_bi()).await else { continue };
        writers.push(tokio::spawn(async move {
            let mut frame = u32::try_from(STRANGER_FRAME_BYTES_MAX).unwrap().to_le_bytes().to_vec();
            frame.resize(STRANGER_FRAME_BYTES_MAX, 0);
            let _cut_off = writer.write_all(&frame).await;
            writer
        }));
    }
    for connection in &crowd {
        let more = tokio::time::timeout(Duration::from_millis(1), connection.open_bi()).await;
        assert!(!matches!(more, Ok(Ok(_))), "a stranger has one stream");
    }
    is_heard(&link).await;
    cluster.serves("another").await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 96 << 20, "both sides together took {grown} bytes");
    for connection in crowd {
        connection.close(0u32.into(), b"");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_handshakes_replays_and_noise_disturb_nobody() {
    let cluster = Cluster::start().await;
    let link = cluster.serves("good").await;
    let before = resident_bytes();
    // First packets, caught on their way to a server that never answers.
    let sink = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoint = cluster.endpoint("127.0.0.1", None);
    let dials: Vec<_> =
        (0..CROWD).map(|_| endpoint.connect(sink.local_addr().unwrap(), SERVER_NAME).unwrap()).collect();
    let mut first = Vec::new();
    while first.len() < CROWD {
        let mut packet = vec![0; 2048];
        let length = tokio::time::timeout(LIMIT, sink.recv(&mut packet)).await.expect("a packet").unwrap();
        first.push(packet[..length].to_vec());
    }
    drop(dials);
    // From where nobody listens to the answers; twice, and then cut and changed.
    let spoof = UdpSocket::bind("127.0.0.3:0").unwrap();
    for packet in first.iter().chain(&first) {
        spoof.send_to(packet, cluster.address).unwrap();
    }
    let mut unknown = first[0].clone();
    unknown[1..5].copy_from_slice(&0xbaba_baba_u32.to_be_bytes());
    spoof.send_to(&unknown, cluster.address).unwrap();
    for (number, packet) in first.iter().enumerate() {
        let mut changed = packet.clone();
        let at = number % changed.len();
        changed[at] ^= 0x55;
        spoof.send_to(&changed, cluster.address).unwrap();
        spoof.send_to(&changed[..at], cluster.address).unwrap();
    }
    is_heard(&link).await;
    cluster.serves("another").await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 96 << 20, "both sides together took {grown} bytes");
    // A version that nobody speaks is answered by those that the server does.
    let other = UdpSocket::bind("127.0.0.4:0").unwrap();
    other.set_read_timeout(Some(LIMIT)).unwrap();
    other.send_to(&unknown, cluster.address).unwrap();
    let mut answer = [0; 2048];
    let length = other.recv(&mut answer).unwrap();
    assert!(length > 5 && answer[1..5] == [0; 4], "{:?}", &answer[..length]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_talks_nonsense_and_never_ends_its_streams_hurts_itself_alone() {
    let cluster = Cluster::start().await;
    let link = cluster.serves("good").await;
    let bad = cluster.join("bad").await;
    let endpoint = cluster.endpoint("127.0.0.1", Some(&bad));
    let connection = cluster.dial(&endpoint).await;
    let (mut writer, mut reader) = connection.open_bi().await.unwrap();
    writer.write_all(&framed(&Opening::Hello(hello("bad")))).await.unwrap();
    writer.finish().unwrap();
    let answer = tokio::time::timeout(LIMIT, reader.read_to_end(1 << 20)).await.expect("an answer").unwrap();
    let answer = control_wire::codec::decode::<Welcome>(&mut answer.as_slice().into()).unwrap().unwrap();
    assert!(matches!(answer, Welcome::Accepted(_)));
    let reports = |frame: Vec<u8>| [framed(&Opening::Report), frame].concat();
    // A report that is none ends its stream; one over the limit does too; and the rest stay open, as many as there may be.
    for frame in [vec![1, 0, 0, 0, 0xff], u32::MAX.to_le_bytes().to_vec()] {
        let (mut writer, mut reader) = connection.open_bi().await.unwrap();
        writer.write_all(&reports(frame)).await.unwrap();
        let end = tokio::time::timeout(LIMIT, reader.read_to_end(1024)).await.expect("the stream ends");
        assert!(end.is_ok_and(|rest| rest.is_empty()));
    }
    let mut open = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_secs(2), connection.open_bi()).await {
        let (mut writer, reader) = stream.unwrap();
        writer.write_all(&framed(&Opening::Sync { since: 0, epoch: 0 })).await.unwrap();
        open.push((writer, reader));
        assert!(open.len() <= 8, "streams without end");
    }
    assert!(!open.is_empty());
    is_heard(&link).await;
    cluster.serves("another").await;
    // It can still come again, as the same node.
    connection.close(0u32.into(), b"");
    let again = Link::connect(&bad.addresses, &bad, hello("bad")).await.unwrap().0;
    is_heard(&again).await;
}
