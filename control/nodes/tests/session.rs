//! A node's life over real QUIC on loopback: join, greeting, desired state, reports, logs, exec.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use control_api::image::{Platform, PlatformsAnswer, PlatformsRequest};
use control_api::resource::{
    CONFIG_MAPS, LEASES, NAMESPACES, NETWORK_POLICIES, NODES, PODS, SECRETS, SERVICE_ACCOUNTS, SERVICES,
};
use control_api::service::ServiceRange;
use control_api::stream::{AttachRequest, ExecInput, ExecOutput, ExecRequest, ForwardRequest, LogRequest};
use control_api::usage::{NodeUsage, UsageRequest};
use control_apiserver::{Api, NodeStreams, User};
use control_client::{Client, DeleteOptions, Patch};
use control_nodes::{Nodes, NodesConfig};
use control_pki::{Pki, TokenLimits};
use control_store::MemoryStore;
use control_wire::frame::PROTOCOL;
use control_wire::{
    ConnectError, Hello, Identity, Incoming, JoinError, JoinToken, Link, Listener, NodeKey, Report, Sync, SyncStream,
    TokenAnswer, TokenRequest,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: Duration = Duration::from_secs(60);

struct Cluster {
    folder: tempfile::TempDir,
    pki: Arc<Pki>,
    client: Client,
    nodes: Arc<Nodes>,
    address: String,
}

impl Cluster {
    async fn start() -> Self {
        Self::configured(NodesConfig::default()).await
    }

    async fn configured(config: NodesConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Arc::new(Pki::open(folder.path(), &[]).unwrap());
        let api = Api::new(Arc::new(MemoryStore::default()));
        api.sign_tokens(pki.account_key());
        let client = Client::new(api, User::system("system:bramble-nodes"));
        for name in ["default", "kube-node-lease"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            client.create(&NAMESPACES, "", namespace).await.unwrap();
        }
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}});
        client.create(&SERVICE_ACCOUNTS, "default", account).await.unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), pki.quic_config(), &[7; 32]).unwrap();
        let address = listener.local_address().unwrap().to_string();
        let nodes = Nodes::start(client.clone(), pki.clone(), listener, config);
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

const SHARED: [&str; 6] = ["services", "endpointslices", "networkpolicies", "namespaces", "nodes", "peers"];

/// Frames up to `Synced`, as words, and the revision and epoch it names.
async fn whole_batch(stream: &mut SyncStream) -> (Vec<String>, u64, u64) {
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

/// The next batch that tells of the node's own objects, without what every node is told.
async fn batch(stream: &mut SyncStream) -> (Vec<String>, u64, u64) {
    loop {
        let (mut words, revision, epoch) = whole_batch(stream).await;
        let shared = |word: &String| SHARED.iter().any(|resource| word.contains(&format!(" {resource}/")));
        let only_shared = !words.is_empty() && words.iter().all(shared);
        words.retain(|word| !shared(word));
        if !only_shared {
            return (words, revision, epoch);
        }
    }
}

#[tokio::test]
async fn a_node_joins_and_becomes_a_node_object_with_a_pod_range() {
    let cluster = Cluster::start().await;
    let identity = cluster.join("pi-1").await;
    let (_link, accepted) = Link::connect(&identity.addresses, &identity, hello("pi-1")).await.unwrap();
    assert_eq!(accepted.network.pod_range, "10.42.0.0/24");
    let node: Value = serde_json::from_slice(&cluster.client.get(&NODES, "", "pi-1").unwrap().json).unwrap();
    assert_eq!(node["spec"]["podCIDR"], "10.42.0.0/24");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/arch"], "arm64");
    assert!(node["metadata"]["labels"]["node-role.kubernetes.io/boss"].is_null());
    assert_eq!(node["status"]["conditions"][0]["type"], "Ready");
    let refused = Link::join(&cluster.token(TokenLimits::default()), "pi-1", &NodeKey::generate().unwrap()).await;
    assert!(matches!(refused, Err(JoinError::Refused { message }) if message.contains("another key")));
}

#[tokio::test]
async fn a_node_is_told_the_ranges_that_its_cluster_was_given() {
    let service_range = ServiceRange::parse("10.53.0.0/20", "10.52.0.0/16").unwrap();
    let config = NodesConfig { pod_range: "10.52.0.0/16".to_owned(), service_range, ..NodesConfig::default() };
    let cluster = Cluster::configured(config).await;
    let identity = cluster.join("pi-1").await;
    let (_link, accepted) = Link::connect(&identity.addresses, &identity, hello("pi-1")).await.unwrap();
    let network = accepted.network;
    assert_eq!((network.pod_range.as_str(), network.cluster_range.as_str()), ("10.52.0.0/24", "10.52.0.0/16"));
    assert_eq!((network.service_range.as_str(), network.dns.as_str()), ("10.53.0.0/20", "10.53.0.10"));
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
    assert!(matches!(refused, Err(JoinError::WrongCluster { source: ConnectError::WrongCluster { .. }, .. })));
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
async fn logs_exec_and_questions_travel_over_streams_that_the_server_opens() {
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
                Ok(Incoming::Platforms(request, reply)) => {
                    assert_eq!(request, PlatformsRequest { image: "a:1".to_owned(), secrets: vec![b"s".to_vec()] });
                    let platforms = vec![Platform::new("arm", Some("v7"))];
                    reply.answer(&PlatformsAnswer::Known(platforms)).await.unwrap();
                }
                Ok(Incoming::Usage(request, reply)) => {
                    let usage = NodeUsage { window_ms: u64::from(request.rates), ..NodeUsage::default() };
                    reply.answer(&usage).await.unwrap();
                }
                // As an agent that is too old for it: without a word.
                Ok(Incoming::Attach(_, pipe)) => drop(pipe),
                Ok(Incoming::Forward(request, call)) if request.port == 80 => {
                    let mut pipe = call.connected().await.unwrap();
                    pipe.write_all(b"hello ").await.unwrap();
                    let mut said = String::new();
                    pipe.read_to_string(&mut said).await.unwrap();
                    pipe.write_all(said.as_bytes()).await.unwrap();
                    pipe.shutdown().await.unwrap();
                }
                Ok(Incoming::Forward(_, call)) => call.fail("connection refused").await.unwrap(),
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
    let request = PlatformsRequest { image: "a:1".to_owned(), secrets: vec![b"s".to_vec()] };
    let answer = cluster.nodes.platforms("pi-1", request.clone()).await.unwrap();
    assert_eq!(answer, PlatformsAnswer::Known(vec![Platform::new("arm", Some("v7"))]));
    assert_eq!(cluster.nodes.platforms("pi-9", request).await.unwrap_err().code(), 503);
    let usage = cluster.nodes.usage("pi-1", UsageRequest { rates: true }).await.unwrap();
    assert_eq!(usage, NodeUsage { window_ms: 1, ..NodeUsage::default() });
    let mut attached = cluster.nodes.attach("pi-1", AttachRequest::default()).await.unwrap();
    assert!(matches!(attached.output.recv().await, Some(ExecOutput::Failed { .. })));
    let port = |port| ForwardRequest { port, ..ForwardRequest::default() };
    let mut connection = cluster.nodes.forward("pi-1", port(80)).await.unwrap();
    connection.write_all(b"world").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut said = String::new();
    connection.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "hello world");
    let refused = cluster.nodes.forward("pi-1", port(81)).await.map(drop).unwrap_err();
    assert_eq!(refused.message, "connection refused");
    assert_eq!(cluster.nodes.logs("pi-9", LogRequest::default()).await.unwrap_err().code(), 503);
    link.close("done").await;
    agent.await.unwrap();
}

#[tokio::test]
async fn every_node_is_told_of_services_and_policies_and_of_pods_only_with_policies() {
    let cluster = Cluster::start().await;
    let (identity, other) = (cluster.join("pi-1").await, cluster.join("pi-2").await);
    let (link, _other_link) = (cluster.connect(&identity).await, cluster.connect(&other).await);
    cluster.config_map("settings").await;
    let uid = cluster.pod("far", "pi-2", "settings").await;
    let status = json!({"metadata": {"uid": uid}, "status": {"phase": "Running", "podIP": "10.42.1.2"}});
    cluster.client.patch(&PODS, "default", "far", Some("status"), Patch::Merge(status)).await.unwrap();
    let mut stream = link.sync(0, 0).await.unwrap();
    let (words, revision, epoch) = whole_batch(&mut stream).await;
    assert_eq!(words[0], "reset");
    assert!(
        words.contains(&"put nodes/pi-2".to_owned()) && words.contains(&"put namespaces/default".to_owned()),
        "{words:?}"
    );
    assert!(!words.iter().any(|word| word.contains("far")), "{words:?}");

    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "None", "ports": [{"port": 80}]}});
    cluster.client.create(&SERVICES, "default", service).await.unwrap();
    assert_eq!(whole_batch(&mut stream).await.0, ["put services/web"]);
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "closed", "namespace": "default"}, "spec": {"podSelector": {}}});
    cluster.client.create(&NETWORK_POLICIES, "default", policy).await.unwrap();
    assert_eq!(whole_batch(&mut stream).await.0, ["put networkpolicies/closed", "put peers/far"]);

    // A session that goes on hears of what happened meanwhile, and of nothing else.
    let mut resumed = link.sync(revision, epoch).await.unwrap();
    let words = whole_batch(&mut resumed).await.0;
    assert_eq!(words, ["put services/web", "put networkpolicies/closed", "put peers/far"]);
    let (_, revision, epoch) = (0, cluster.client.revision(), epoch);
    cluster.client.delete(&SERVICES, "default", "web", DeleteOptions::default()).await.unwrap();
    let mut resumed = link.sync(revision, epoch).await.unwrap();
    assert_eq!(whole_batch(&mut resumed).await.0, ["delete services/web"]);
}

#[tokio::test]
async fn with_an_external_cloud_a_node_waits_for_it_and_keeps_the_addresses_that_it_found() {
    let cluster = Cluster::configured(NodesConfig { external_cloud: true, ..NodesConfig::default() }).await;
    let identity = cluster.join("pi-1").await;
    let link = cluster.connect(&identity).await;
    let node = || serde_json::from_slice::<Value>(&cluster.client.get(&NODES, "", "pi-1").unwrap().json).unwrap();
    assert_eq!(node()["spec"]["taints"][0]["key"], "node.cloudprovider.kubernetes.io/uninitialized");
    let mut reports = link.report().await.unwrap();
    let mut report = async |address: &str| {
        let status = json!({"addresses": [{"type": "InternalIP", "address": address}]}).to_string();
        reports.send(&Report::NodeStatus { json: status.into_bytes() }).await.unwrap();
        reports.flushed().await.unwrap();
    };
    report("192.168.1.5").await;
    assert_eq!(node()["status"]["addresses"][0]["address"], "192.168.1.5");
    // What a cloud controller manager does.
    let spec = json!({"spec": {"taints": null, "providerID": "cloud://pi-1"}});
    cluster.client.patch(&NODES, "", "pi-1", None, Patch::Merge(spec)).await.unwrap();
    let found = json!({"status": {"addresses": [{"type": "ExternalIP", "address": "203.0.113.9"}]}});
    cluster.client.patch(&NODES, "", "pi-1", Some("status"), Patch::Merge(found)).await.unwrap();
    report("192.168.1.6").await;
    assert_eq!(node()["status"]["addresses"][0]["address"], "203.0.113.9");
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_own_pods_and_no_others() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.join("one").await, cluster.join("two").await);
    let (link, other) = (cluster.connect(&one).await, cluster.connect(&two).await);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"nodeName": "one", "containers": [{"name": "a", "image": "a:1"}]},
    });
    let uid = cluster.client.create(&PODS, "default", pod).await.unwrap().meta.uid.clone();
    let request = TokenRequest {
        namespace: "default".to_owned(),
        account: "default".to_owned(),
        pod: "web".to_owned(),
        pod_uid: uid.clone(),
        audience: String::new(),
        seconds: 3607,
    };
    let TokenAnswer::Issued { token, seconds } = link.token(request.clone()).await.unwrap() else { panic!("refused") };
    assert_eq!(seconds, 3607);
    let claims = cluster.pki.account_key().verify(&token).unwrap();
    assert_eq!(claims.sub, "system:serviceaccount:default:default");
    assert_eq!(claims.kubernetes.pod.as_ref().unwrap().uid, uid);
    assert_eq!(claims.kubernetes.node.as_ref().unwrap().name, "one");
    // Good for a year where the server is away for long, with a note of when it should have been renewed.
    assert_eq!(claims.kubernetes.warnafter, Some(claims.iat + 3607));
    let refused = async |link: &Link, request: TokenRequest| match link.token(request).await.unwrap() {
        TokenAnswer::Refused { message } => message,
        TokenAnswer::Issued { .. } => panic!("a token was given"),
    };
    let message = refused(&other, request.clone()).await;
    assert_eq!(message, "pod default/web is not bound to node two");
    for (wrong, words) in [
        (TokenRequest { pod_uid: "other".to_owned(), ..request.clone() }, "is not bound to node one"),
        (TokenRequest { pod: "none".to_owned(), ..request.clone() }, "is not bound to node one"),
        (TokenRequest { account: "admin".to_owned(), ..request.clone() }, "does not run as service account admin"),
        (TokenRequest { audience: "vault".to_owned(), ..request.clone() }, "has no volume with a token"),
        (TokenRequest { seconds: 1, ..request.clone() }, "less than 10 minutes"),
    ] {
        let message = refused(&link, wrong).await;
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_report_about_another_nodes_pod_changes_nothing() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.join("one").await, cluster.join("two").await);
    let _link = cluster.connect(&one).await;
    let other = cluster.connect(&two).await;
    let uid = cluster.pod("web", "one", "settings").await;
    let mut reports = other.report().await.unwrap();
    let before = cluster.client.get(&PODS, "default", "web").unwrap().revision;
    let status = json!({"phase": "Failed", "podIP": "6.6.6.6"}).to_string().into_bytes();
    let (namespace, name) = ("default".to_owned(), "web".to_owned());
    for report in [
        Report::PodStatus { namespace: namespace.clone(), name: name.clone(), uid: uid.clone(), json: status },
        Report::PodGone { namespace, name, uid },
        Report::Heartbeat { time_ms: 0 },
    ] {
        reports.send(&report).await.unwrap();
    }
    tokio::time::timeout(LIMIT, reports.flushed()).await.unwrap().unwrap();
    assert_eq!(cluster.client.get(&PODS, "default", "web").unwrap().revision, before);
}

fn ready(cluster: &Cluster, node: &str) -> String {
    let node: Value = serde_json::from_slice(&cluster.client.get(&NODES, "", node).unwrap().json).unwrap();
    let conditions = node["status"]["conditions"].as_array().unwrap();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
    ready["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_node_is_ready_by_its_first_report_and_stays_so_when_its_agent_comes_back() {
    let cluster = Cluster::start().await;
    let identity = cluster.join("pi-1").await;
    let link = cluster.connect(&identity).await;
    assert_eq!(ready(&cluster, "pi-1"), "False");
    let told: Value = serde_json::from_slice(&hello("pi-1").node).unwrap();
    let mut reports = link.report().await.unwrap();
    reports.send(&Report::NodeStatus { json: told["status"].to_string().into_bytes() }).await.unwrap();
    reports.flushed().await.unwrap();
    assert_eq!(ready(&cluster, "pi-1"), "True");
    link.close("restarts").await;
    let _again = cluster.connect(&identity).await;
    assert_eq!(ready(&cluster, "pi-1"), "True");
}

#[tokio::test]
async fn a_heartbeat_renews_the_lease_for_all_to_see_at_a_fraction_of_the_cost_of_a_write() {
    let cluster = Cluster::start().await;
    let identity = cluster.join("pi-1").await;
    let link = cluster.connect(&identity).await;
    let lease = || cluster.client.get(&LEASES, "kube-node-lease", "pi-1").unwrap();
    let read = |json: &[u8]| serde_json::from_slice::<Value>(json).unwrap();
    let before = lease();
    let mut watch = cluster.client.watch(&LEASES, before.revision).unwrap();
    let mut reports = link.report().await.unwrap();
    reports.send(&Report::Heartbeat { time_ms: 0 }).await.unwrap();
    reports.flushed().await.unwrap();
    let seen = tokio::time::timeout(LIMIT, watch.next()).await.unwrap().unwrap();
    let (old, new) = (read(&before.json), read(&seen[0].object.json));
    assert_ne!(old["spec"]["renewTime"], new["spec"]["renewTime"]);
    assert_eq!(new["metadata"]["resourceVersion"], seen[0].object.revision.to_string());
    let mut expected = old.clone();
    expected["spec"]["renewTime"] = new["spec"]["renewTime"].clone();
    expected["metadata"]["resourceVersion"] = new["metadata"]["resourceVersion"].clone();
    assert_eq!(new, expected);

    let time = "2030-01-01T00:00:00.000000Z";
    // The fastest of many: whatever else the machine does makes others slower.
    let (mut renewed, mut patched) = (Duration::MAX, Duration::MAX);
    for second in 0..500 {
        let begun = std::time::Instant::now();
        assert!(cluster.client.renew_node_lease("pi-1", time).await);
        renewed = renewed.min(begun.elapsed());
        let patch = json!({"spec": {"renewTime": format!("2031-01-01T00:00:00.{second:06}Z")}});
        let begun = std::time::Instant::now();
        cluster.client.patch(&LEASES, "kube-node-lease", "pi-1", None, Patch::Merge(patch)).await.unwrap();
        patched = patched.min(begun.elapsed());
    }
    println!("{} us a renewal, {} us a patch", renewed.as_micros(), patched.as_micros());
    assert!(renewed * 3 < patched, "{renewed:?} against {patched:?}");
}
