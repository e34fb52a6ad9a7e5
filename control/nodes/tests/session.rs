//! A node's life over real QUIC on loopback: join, greeting, desired state, reports, logs, exec.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use control_api::resource::{CONFIG_MAPS, NAMESPACES, NODES, PODS, SECRETS, SERVICE_ACCOUNTS};
use control_api::stream::{ExecInput, ExecOutput, ExecRequest, LogRequest};
use control_apiserver::{Api, NodeStreams, User};
use control_client::{Client, DeleteOptions, Patch};
use control_nodes::{Nodes, NodesConfig};
use control_pki::{Pki, TokenLimits};
use control_store::MemoryStore;
use control_wire::frame::PROTOCOL;
use control_wire::{
    ConnectError, Hello, Identity, Incoming, JoinError, JoinToken, Link, Listener, NodeKey, Report, Sync, SyncStream,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

struct Cluster {
    folder: tempfile::TempDir,
    pki: Arc<Pki>,
    client: Client,
    nodes: Arc<Nodes>,
    address: String,
}

impl Cluster {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Arc::new(Pki::open(folder.path(), &[]).unwrap());
        let api = Api::new(Arc::new(MemoryStore::default()));
        let client = Client::new(api, User::system("system:bramble-nodes"));
        for name in ["default", "kube-node-lease"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            client.create(&NAMESPACES, "", namespace).await.unwrap();
        }
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}});
        client.create(&SERVICE_ACCOUNTS, "default", account).await.unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), pki.quic_config(), &[7; 32]).unwrap();
        let address = listener.local_address().unwrap().to_string();
        let nodes = Nodes::start(client.clone(), pki.clone(), listener, NodesConfig::default());
        Self { folder, pki, client, nodes, address }
    }

    fn token(&self, limits: TokenLimits) -> JoinToken {
        self.pki.tokens().create(vec![self.address.clone()], limits).unwrap()
    }

    async fn join(&self, name: &str) -> Identity {
        let token = self.token(TokenLimits::default());
        Link::join(&token, name, &NodeKey::generate().unwrap()).await.unwrap().0
    }

    async fn connect(&self, identity: &Identity) -> Link {
        Link::connect(&identity.addresses, identity, hello(&identity.node_name)).await.unwrap().0
    }

    async fn pod(&self, name: &str, node: &str, config_map: &str) -> String {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "nodeName": node,
                "automountServiceAccountToken": false,
                "containers": [{"name": "a", "image": "a:1", "envFrom": [{"configMapRef": {"name": config_map}}]}],
            },
        });
        self.client.create(&PODS, "default", pod).await.unwrap().meta.uid.clone()
    }

    async fn config_map(&self, name: &str) {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}});
        self.client.create(&CONFIG_MAPS, "default", object).await.unwrap();
    }
}

fn hello(name: &str) -> Hello {
    let node = json!({
        "metadata": {"labels": {"kubernetes.io/arch": "arm64", "node-role.kubernetes.io/boss": ""}},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "m"}]},
    });
    Hello {
        protocol: PROTOCOL,
        node_name: name.to_owned(),
        agent_version: "0".to_owned(),
        platform: "linux/arm64".to_owned(),
        node: node.to_string().into_bytes(),
    }
}

/// Frames up to `Synced`, as words, and the revision and epoch it names.
async fn batch(stream: &mut SyncStream) -> (Vec<String>, u64, u64) {
    let mut words = Vec::new();
    loop {
        let frame = tokio::time::timeout(LIMIT, stream.next()).await.expect("in time").unwrap().expect("a frame");
        match frame {
            Sync::Reset { .. } => words.push("reset".to_owned()),
            Sync::Put { resource, name, .. } => words.push(format!("put {resource}/{name}")),
            Sync::Delete { resource, name, .. } => words.push(format!("delete {resource}/{name}")),
            Sync::Synced { revision, epoch } => return (words, revision, epoch),
        }
    }
}

#[tokio::test]
async fn a_node_joins_and_becomes_a_node_object_with_a_pod_range() {
    let cluster = Cluster::start().await;
    let identity = cluster.join("pi-1").await;
    let (_link, accepted) = Link::connect(&identity.addresses, &identity, hello("pi-1")).await.unwrap();
    assert_eq!(accepted.pod_range, "10.42.0.0/24");
    let node: Value = serde_json::from_slice(&cluster.client.get(&NODES, "", "pi-1").unwrap().json).unwrap();
    assert_eq!(node["spec"]["podCIDR"], "10.42.0.0/24");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/arch"], "arm64");
    assert!(node["metadata"]["labels"]["node-role.kubernetes.io/boss"].is_null());
    assert_eq!(node["status"]["conditions"][0]["type"], "Ready");
    let refused = Link::join(&cluster.token(TokenLimits::default()), "pi-1", &NodeKey::generate().unwrap()).await;
    assert!(matches!(refused, Err(JoinError::Refused { message }) if message.contains("another key")));
}

#[tokio::test]
async fn tokens_that_are_forged_expired_used_up_or_of_another_cluster_are_refused_each_in_its_words() {
    let (cluster, other) = (Cluster::start().await, Cluster::start().await);
    let good = cluster.token(TokenLimits::default());
    let forged = JoinToken { secret: "0".repeat(64), ..good.clone() };
    let expired = cluster.token(TokenLimits { seconds: Some(0), uses: None });
    let once = cluster.token(TokenLimits { seconds: None, uses: Some(1) });
    let key = NodeKey::generate().unwrap();
    Link::join(&once, "a", &key).await.unwrap();
    Link::join(&once, "a", &key).await.expect("the same key asks again after a lost answer");
    let foreign = JoinToken { cluster: other.pki.cluster(), ..good.clone() };
    for (token, words) in [(forged, "forged"), (expired, "expired"), (once, "used up"), (foreign, "another cluster")] {
        let refused = Link::join(&token, "b", &NodeKey::generate().unwrap()).await;
        assert!(matches!(refused, Err(JoinError::Refused { message }) if message.contains(words)), "{words}");
    }
    let wrong_pin = JoinToken { ca_hash: other.pki.ca_hash(), ..good };
    let refused = Link::join(&wrong_pin, "b", &key).await;
    assert!(matches!(refused, Err(JoinError::Connect { source: ConnectError::WrongCluster { .. }, .. })));
    assert_eq!(Pki::open(cluster.folder.path(), &[]).unwrap().ca_hash(), cluster.pki.ca_hash());
}

#[tokio::test]
async fn an_agent_of_another_protocol_or_another_clusters_node_is_refused() {
    let (cluster, other) = (Cluster::start().await, Cluster::start().await);
    let identity = cluster.join("pi-1").await;
    let newer = Hello { protocol: PROTOCOL + 1, ..hello("pi-1") };
    let refused = Link::connect(&identity.addresses, &identity, newer).await;
    assert!(matches!(refused, Err(ConnectError::Refused { message }) if message.contains("protocol")));
    let mut foreign = other.join("pi-1").await;
    foreign.ca = identity.ca.clone();
    let refused = Link::connect(&identity.addresses, &foreign, hello("pi-1")).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_node_is_told_its_pods_and_what_they_name_and_goes_on_where_it_was() {
    let cluster = Cluster::start().await;
    let identity = cluster.join("pi-1").await;
    let link = cluster.connect(&identity).await;
    cluster.config_map("mine").await;
    cluster.config_map("other").await;
    cluster.pod("web", "pi-1", "mine").await;
    cluster.pod("elsewhere", "pi-2", "other").await;
    let mut stream = link.sync(0, 0).await.unwrap();
    let (words, revision, epoch) = batch(&mut stream).await;
    assert_eq!(words, ["reset", "put configmaps/mine", "put serviceaccounts/default", "put pods/web"]);
    link.close("gone for a while").await;
    cluster.config_map("later").await;
    cluster.pod("second", "pi-1", "later").await;
    let link = cluster.connect(&identity).await;
    let mut stream = link.sync(revision, epoch).await.unwrap();
    let (words, revision, _) = batch(&mut stream).await;
    assert_eq!(words, ["put configmaps/later", "put serviceaccounts/default", "put pods/second"]);
    let mut again = link.sync(revision, epoch).await.unwrap();
    assert!(batch(&mut again).await.0.is_empty());
    let change = Patch::Merge(json!({"data": {"a": "b"}}));
    cluster.client.patch(&CONFIG_MAPS, "default", "mine", None, change).await.unwrap();
    assert_eq!(batch(&mut again).await.0, ["put configmaps/mine"]);
    assert!(cluster.client.list(&SECRETS, None).items.is_empty());
}

#[tokio::test]
async fn a_node_speaks_for_its_own_pods_only_and_ends_those_whose_deletion_was_asked() {
    let cluster = Cluster::start().await;
    let identity = cluster.join("pi-1").await;
    let link = cluster.connect(&identity).await;
    let mine = cluster.pod("mine", "pi-1", "none").await;
    let other = cluster.pod("other", "pi-2", "none").await;
    let mut reports = link.report().await.unwrap();
    let status = |name: &str, uid: &str| Report::PodStatus {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        json: json!({"phase": "Running"}).to_string().into_bytes(),
    };
    reports.send(&status("mine", &mine)).await.unwrap();
    reports.send(&status("other", &other)).await.unwrap();
    reports.send(&Report::Heartbeat { time_ms: 0 }).await.unwrap();
    reports.flushed().await.unwrap();
    let phase = |name: &str| {
        let pod = cluster.client.get(&PODS, "default", name).unwrap();
        serde_json::from_slice::<Value>(&pod.json).unwrap()["status"]["phase"].clone()
    };
    assert_eq!(phase("mine"), "Running");
    assert_ne!(phase("other"), "Running");
    assert!(cluster.nodes.last_seen("pi-1").is_some());
    let gone = Report::PodGone { namespace: "default".to_owned(), name: "mine".to_owned(), uid: mine };
    reports.send(&gone).await.unwrap();
    reports.flushed().await.unwrap();
    assert!(cluster.client.get(&PODS, "default", "mine").is_some(), "its deletion was not asked for");
    cluster.client.delete(&PODS, "default", "mine", DeleteOptions::default()).await.unwrap();
    reports.send(&gone).await.unwrap();
    reports.flushed().await.unwrap();
    assert!(cluster.client.get(&PODS, "default", "mine").is_none());
}

#[tokio::test]
async fn logs_and_exec_travel_over_streams_that_the_server_opens() {
    let cluster = Cluster::start().await;
    let identity = cluster.join("pi-1").await;
    let link = cluster.connect(&identity).await;
    let agent = link.clone();
    let agent = tokio::spawn(async move {
        loop {
            match agent.accept().await {
                Ok(Incoming::Log(request, sink)) if request.previous => {
                    sink.fail("previous terminated container \"a\" in pod \"web\" not found").await.unwrap();
                }
                Ok(Incoming::Log(_, mut sink)) => {
                    sink.started().await.unwrap();
                    sink.send("one\n".into()).await.unwrap();
                    sink.end().await.unwrap();
                }
                Ok(Incoming::Exec(_, mut pipe)) => {
                    if let Some(ExecInput::Stdin(bytes)) = pipe.input.recv().await {
                        pipe.output.send(ExecOutput::Stdout(bytes)).await.unwrap();
                    }
                    pipe.output.send(ExecOutput::Exited { code: 3 }).await.unwrap();
                }
                Err(_) => return,
            }
        }
    });
    // The session is known to the server once a first stream of it was answered.
    batch(&mut link.sync(0, 0).await.unwrap()).await;
    let mut lines = cluster.nodes.logs("pi-1", LogRequest::default()).await.unwrap();
    assert_eq!(lines.recv().await.unwrap(), "one\n");
    assert!(lines.recv().await.is_none());
    let previous = LogRequest { previous: true, ..LogRequest::default() };
    assert_eq!(cluster.nodes.logs("pi-1", previous).await.unwrap_err().code(), 400);
    let mut exec = cluster.nodes.exec("pi-1", ExecRequest::default()).await.unwrap();
    exec.input.send(ExecInput::Stdin(b"hi".to_vec())).await.unwrap();
    assert_eq!(exec.output.recv().await, Some(ExecOutput::Stdout(b"hi".to_vec())));
    assert_eq!(exec.output.recv().await, Some(ExecOutput::Exited { code: 3 }));
    assert_eq!(cluster.nodes.logs("pi-9", LogRequest::default()).await.unwrap_err().code(), 503);
    link.close("done").await;
    agent.await.unwrap();
}
