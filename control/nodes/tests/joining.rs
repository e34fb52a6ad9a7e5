//! How machines become nodes and cease to be, over real QUIC on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use control_api::resource::{NAMESPACES, NODES};
use control_apiserver::{Api, NodeStreams, User};
use control_client::{Client, DeleteOptions};
use control_nodes::{Nodes, NodesConfig};
use control_pki::{Lifetimes, Pki, TokenLimits};
use control_store::MemoryStore;
use control_wire::frame::{PROTOCOL, STRANGER_FRAME_BYTES_MAX};
use control_wire::trust::{self, Anchor};
use control_wire::{Applicant, ConnectError, Hello, Identity, JoinError, JoinToken, Link, Listener, NodeKey, Pending};
use control_wire::{Report, fingerprint};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// Control plane state that outlives a server's start.
struct Cluster {
    folder: tempfile::TempDir,
    api: Arc<Api>,
    lifetimes: Lifetimes,
}

struct Server {
    pki: Arc<Pki>,
    client: Client,
    nodes: Arc<Nodes>,
    address: String,
}

impl Cluster {
    async fn new(lifetimes: Lifetimes) -> Self {
        let api = Api::new(Arc::new(MemoryStore::default()));
        let client = Client::new(api.clone(), User::system("system:bramble-nodes"));
        for name in ["default", "kube-node-lease"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            client.create(&NAMESPACES, "", namespace).await.unwrap();
        }
        Self { folder: tempfile::tempdir().unwrap(), api, lifetimes }
    }

    fn serve(&self) -> Server {
        let pki = Arc::new(Pki::open_with(self.folder.path(), &[], self.lifetimes).unwrap());
        let client = Client::new(self.api.clone(), User::system("system:bramble-nodes"));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), pki.quic_config(), &pki.quic_secret()).unwrap();
        let address = listener.local_address().unwrap().to_string();
        let nodes = Nodes::start(client.clone(), pki.clone(), listener, NodesConfig::default());
        Server { pki, client, nodes, address }
    }
}

impl Server {
    fn token(&self) -> JoinToken {
        self.pki.tokens().create(vec![self.address.clone()], TokenLimits::default()).unwrap()
    }

    async fn join(&self, name: &str) -> Identity {
        Link::join(&self.token(), name, &NodeKey::generate().unwrap()).await.unwrap().0
    }

    async fn greet(&self, identity: &Identity) -> Result<Link, ConnectError> {
        let addresses = [self.address.clone()];
        Link::connect(&addresses, identity, hello(&identity.node_name)).await.map(|(link, _)| link)
    }

    async fn ask(&self, anchor: Anchor, name: &str, key: &NodeKey) -> Result<Pending, JoinError> {
        Pending::ask(&self.address, anchor, applicant(name, key)).await
    }

    async fn delete_node(&self, name: &str) {
        self.client.delete(&NODES, "", name, DeleteOptions::default()).await.unwrap();
    }

    fn waiting(&self) -> Vec<Value> {
        self.nodes.document("pending").unwrap()["items"].as_array().unwrap().clone()
    }
}

fn applicant(name: &str, key: &NodeKey) -> Applicant {
    Applicant {
        node_name: name.to_owned(),
        agent_version: "0".to_owned(),
        platform: "linux/arm64".to_owned(),
        key: key.clone(),
    }
}

fn hello(name: &str) -> Hello {
    Hello {
        protocol: PROTOCOL,
        node_name: name.to_owned(),
        agent_version: "0".to_owned(),
        platform: "linux/arm64".to_owned(),
        node: json!({"status": {}}).to_string().into_bytes(),
    }
}

fn refusal<T>(result: Result<T, ConnectError>) -> String {
    match result {
        Err(ConnectError::Refused { message }) => message,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("was accepted"),
    }
}

async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + LIMIT;
    while !done() {
        assert!(tokio::time::Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_machine_without_a_token_waits_and_joins_once_an_administrator_has_compared_its_fingerprint() {
    let cluster = Cluster::new(Lifetimes::default()).await;
    let server = cluster.serve();
    let key = NodeKey::generate().unwrap();
    let mut pending = server.ask(Anchor::First, "pi-1", &key).await.unwrap();
    assert_eq!(pending.ca_hash(), server.pki.ca_hash());
    let shown = server.waiting();
    assert_eq!((shown.len(), &shown[0]["name"]), (1, &json!("pi-1")));
    assert_eq!(shown[0]["fingerprint"], json!(fingerprint(&key.hash())));
    assert!(server.client.get(&NODES, "", "pi-1").is_none());
    let wrong = server.nodes.approve("pi-1", "0000-0000-0000").unwrap_err();
    assert!(wrong.message.contains(&fingerprint(&key.hash())), "{}", wrong.message);
    assert_eq!(server.nodes.approve("pi-2", "").unwrap_err().code(), 404);
    server.nodes.approve("pi-1", &fingerprint(&key.hash())[..9]).unwrap();
    let (identity, _) = tokio::time::timeout(LIMIT, pending.approved()).await.unwrap().unwrap();
    assert_eq!((identity.cluster.as_str(), identity.node_name.as_str()), (server.pki.cluster().as_str(), "pi-1"));
    server.greet(&identity).await.unwrap();
    assert!(server.client.get(&NODES, "", "pi-1").is_some());
    assert!(server.waiting().is_empty());
}

#[tokio::test]
async fn a_machine_that_was_let_in_while_its_power_was_off_need_not_be_let_in_again() {
    let cluster = Cluster::new(Lifetimes::default()).await;
    let server = cluster.serve();
    let key = NodeKey::generate().unwrap();
    // It is never seen to leave, as a machine without power is not.
    let unheard = server.ask(Anchor::First, "pi-1", &key).await.unwrap();
    server.nodes.approve("pi-1", &fingerprint(&key.hash())).unwrap();
    let mut pending = server.ask(Anchor::First, "pi-1", &key).await.unwrap();
    let (identity, _) = tokio::time::timeout(LIMIT, pending.approved()).await.unwrap().unwrap();
    drop(unheard);
    server.greet(&identity).await.unwrap();
    // Neither a stranger under its name nor itself under another is meant by that.
    let stranger = NodeKey::generate().unwrap();
    let _waits = [server.ask(Anchor::First, "pi-1", &stranger).await, server.ask(Anchor::First, "pi-2", &key).await];
    assert_eq!(server.waiting().len(), 2);
    server.delete_node("pi-1").await;
    let removed = async || match server.ask(Anchor::First, "pi-1", &key).await {
        Ok(mut pending) => pending.approved().await.err(),
        Err(error) => Some(error),
    };
    assert!(matches!(removed().await, Some(JoinError::Refused { message }) if message.contains("was removed")));
}

#[tokio::test]
async fn two_machines_of_one_name_are_told_apart_by_their_fingerprints_and_one_that_leaves_is_forgotten() {
    let cluster = Cluster::new(Lifetimes::default()).await;
    let server = cluster.serve();
    let (one, two) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let first = server.ask(Anchor::First, "pi", &one).await.unwrap();
    let mut second = server.ask(Anchor::First, "pi", &two).await.unwrap();
    let message = server.nodes.approve("pi", "").unwrap_err().message;
    assert!(message.contains(&fingerprint(&one.hash())) && message.contains(&fingerprint(&two.hash())), "{message}");
    drop(first);
    eventually("the first machine is forgotten", || server.waiting().len() == 1).await;
    server.nodes.approve("pi", "").unwrap();
    assert!(tokio::time::timeout(LIMIT, second.approved()).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_machine_that_was_told_its_cluster_shows_its_key_to_no_other() {
    let (cluster, other) = (Cluster::new(Lifetimes::default()).await, Cluster::new(Lifetimes::default()).await);
    let (server, other) = (cluster.serve(), other.serve());
    let key = NodeKey::generate().unwrap();
    let refused = server.ask(Anchor::Cluster(other.pki.cluster()), "pi", &key).await;
    assert!(matches!(refused, Err(JoinError::Connect { source: ConnectError::WrongCluster { .. }, .. })));
    assert!(server.waiting().is_empty());
    server.ask(Anchor::Cluster(server.pki.cluster()), "pi", &key).await.unwrap();
    let short = Anchor::Cluster(server.pki.cluster()[..8].to_owned());
    assert!(server.ask(short, "pi", &key).await.is_err(), "half a name is no name");
}

#[tokio::test]
async fn no_more_machines_wait_than_there_is_room_for() {
    let cluster = Cluster::new(Lifetimes::default()).await;
    let server = cluster.serve();
    let mut held = Vec::new();
    let message = loop {
        let key = NodeKey::generate().unwrap();
        match server.ask(Anchor::First, "pi", &key).await {
            Ok(pending) => held.push(pending),
            Err(JoinError::Refused { message }) => break message,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(held.len(), 8, "behind one address");
    assert!(message.contains("too many machines"), "{message}");
}

#[tokio::test]
async fn a_deleted_nodes_session_ends_and_its_key_is_refused_for_good_while_a_new_key_takes_its_name() {
    let cluster = Cluster::new(Lifetimes::default()).await;
    let server = cluster.serve();
    let identity = server.join("pi-1").await;
    let link = server.greet(&identity).await.unwrap();
    let closed = link.closed();
    server.delete_node("pi-1").await;
    let reason = tokio::time::timeout(LIMIT, closed).await.expect("the session ends");
    assert!(reason.contains("removed"), "{reason}");
    let message = refusal(server.greet(&identity).await);
    assert!(message.contains("bramble-agent reset") && message.contains("token"), "{message}");
    assert!(server.client.get(&NODES, "", "pi-1").is_none());
    let by_token = Link::join(&server.token(), "pi-1", &identity.key).await;
    assert!(matches!(by_token, Err(JoinError::Refused { message }) if message.contains("was removed")));
    assert!(matches!(Link::renew_ended(&identity).await, Err(JoinError::Refused { .. })));

    let again = cluster.serve();
    assert!(refusal(again.greet(&identity).await).contains("was removed"));
    let fresh = again.join("pi-1").await;
    again.greet(&fresh).await.unwrap();
    assert!(refusal(again.greet(&identity).await).contains("was removed"));
}

#[tokio::test]
async fn a_deletion_that_a_crash_left_unrecorded_still_shuts_the_key_out() {
    let cluster = Cluster::new(Lifetimes::default()).await;
    let identity = {
        let server = cluster.serve();
        let identity = server.join("pi-1").await;
        server.greet(&identity).await.unwrap();
        identity
    };
    let record = cluster.folder.path().join(format!("members/{}.json", trust::hex(&identity.key.hash())));
    let before = std::fs::read(&record).unwrap();
    let client = Client::new(cluster.api.clone(), User::system("admin"));
    client.delete(&NODES, "", "pi-1", DeleteOptions::default()).await.unwrap();
    // As a crash between the deletion and its record would have it.
    eventually("the deletion is recorded", || std::fs::read(&record).unwrap() != before).await;
    std::fs::write(&record, before).unwrap();
    let server = cluster.serve();
    assert!(refusal(server.greet(&identity).await).contains("was removed"));
    assert!(server.client.get(&NODES, "", "pi-1").is_none());
}

#[tokio::test]
async fn a_certificate_is_renewed_over_the_session_for_its_own_key_only() {
    let short = Lifetimes { node: Duration::from_secs(3600), ..Lifetimes::default() };
    let cluster = Cluster::new(short).await;
    let server = cluster.serve();
    let identity = server.join("pi-1").await;
    let (issued, end) = (identity.issued_seconds, trust::end_seconds(&identity.certificate).unwrap());
    assert_eq!((end - issued).div_ceil(60), 60);
    // Signed in one second, it may arrive in another.
    assert!((2360..=2400).contains(&(identity.renew_at_seconds() - issued)), "at two thirds");
    let link = server.greet(&identity).await.unwrap();
    let renewed = link.renew(&identity).await.unwrap();
    assert_ne!(renewed.certificate, identity.certificate);
    assert_eq!(renewed.key.hash(), identity.key.hash());
    server.greet(&renewed).await.unwrap();
    let other = server.join("pi-2").await;
    let link = server.greet(&identity).await.unwrap();
    assert!(matches!(link.renew(&other).await, Err(JoinError::Refused { .. })));
}

#[tokio::test]
async fn a_node_that_was_off_until_its_certificate_ended_comes_back_by_its_key() {
    let ended = Lifetimes { node: Duration::ZERO, ..Lifetimes::default() };
    let mut cluster = Cluster::new(ended).await;
    let identity = cluster.serve().join("pi-1").await;
    cluster.lifetimes = Lifetimes::default();
    let server = cluster.serve();
    let end = tokio::time::Instant::now() + LIMIT;
    // Certificates end with a second.
    while !matches!(server.greet(&identity).await, Err(ConnectError::NotAdmitted { .. })) {
        assert!(tokio::time::Instant::now() < end, "the certificate has not ended");
    }
    let identity = Identity { addresses: vec![server.address.clone()], ..identity };
    let renewed = Link::renew_ended(&identity).await.unwrap();
    server.greet(&renewed).await.unwrap();
    let stranger = Identity { key: NodeKey::generate().unwrap(), ..renewed };
    assert!(matches!(Link::renew_ended(&stranger).await, Err(JoinError::Refused { .. })));
}

#[tokio::test]
async fn a_stranger_with_an_endless_request_is_not_listened_to() {
    let cluster = Cluster::new(Lifetimes::default()).await;
    let server = cluster.serve();
    let endless = JoinToken { secret: "x".repeat(STRANGER_FRAME_BYTES_MAX), ..server.token() };
    let refused = Link::join(&endless, "pi", &NodeKey::generate().unwrap()).await;
    assert!(matches!(refused, Err(JoinError::Stream(_))), "{refused:?}");
    assert!(Link::join(&server.token(), "pi", &NodeKey::generate().unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_revoked_token_says_so_and_a_token_is_believed_by_no_other_cluster() {
    let (cluster, other) = (Cluster::new(Lifetimes::default()).await, Cluster::new(Lifetimes::default()).await);
    let (server, other) = (cluster.serve(), other.serve());
    let token = server.token();
    server.pki.tokens().revoke(&token.id).unwrap();
    let refused = Link::join(&token, "pi", &NodeKey::generate().unwrap()).await;
    assert!(matches!(refused, Err(JoinError::Refused { message }) if message.contains("revoked")));
    let astray = JoinToken { addresses: vec![other.address.clone()], ..server.token() };
    let error = Link::join(&astray, "pi", &NodeKey::generate().unwrap()).await.unwrap_err();
    assert!(matches!(error, JoinError::WrongCluster { .. }) && !error.passes());
    let gone = JoinToken { addresses: vec!["127.0.0.1:1".to_owned(), other.address.clone()], ..server.token() };
    let error = Link::join(&gone, "pi", &NodeKey::generate().unwrap()).await.unwrap_err();
    assert!(error.passes(), "one of its addresses may come back: {error}");
}

#[tokio::test]
async fn the_server_tells_of_its_links() {
    let cluster = Cluster::new(Lifetimes::default()).await;
    let server = cluster.serve();
    let identity = server.join("pi-1").await;
    let link = server.greet(&identity).await.unwrap();
    let mut reports = link.report().await.unwrap();
    reports.send(&Report::Heartbeat { time_ms: 0 }).await.unwrap();
    reports.flushed().await.unwrap();
    let links = server.nodes.document("nodes").unwrap();
    assert_eq!((&links["items"][0]["name"], &links["items"][0]["connected"]), (&json!("pi-1"), &json!(true)));
    assert_eq!(links["items"][0]["fingerprint"], json!(fingerprint(&identity.key.hash())));
    assert!(links["items"][0]["roundTripMicros"].as_u64().is_some_and(|micros| micros > 0));
    assert_eq!(server.nodes.document("server").unwrap()["cluster"], json!(server.pki.cluster()));
}
