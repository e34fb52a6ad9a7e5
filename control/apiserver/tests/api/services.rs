//! Services as Kubernetes' API server keeps them: addresses and ports given out once, types that change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::server::Server;
use control_api::resource::SERVICES;
use control_api::{Reason, Status};
use control_apiserver::bootstrap::services;
use control_apiserver::{Call, DeleteOptions, PatchKind, Reply, User, Verb, WriteOptions};
use control_store::{Key, Page};
use serde_json::{Value, json};
use tokio::sync::watch;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

fn web(kind: &str) -> Value {
    json!({"type": kind, "selector": {"app": "web"}, "ports": [{"port": 80}]})
}

fn value(reply: Result<Reply, Status>) -> Result<Value, Status> {
    match reply? {
        Reply::Object { object, .. } => Ok(serde_json::from_slice(&object.json).unwrap()),
        Reply::Value { value, .. } => Ok(value),
    }
}

async fn create(server: &Server, object: Value) -> Result<Value, Status> {
    value(server.call(Verb::Create(object), &SERVICES, "default", "", None).await)
}

async fn patch(server: &Server, name: &str, patch: Value) -> Result<Value, Status> {
    let verb = Verb::Patch(PatchKind::Merge, patch.to_string().into());
    value(server.call(verb, &SERVICES, "default", name, None).await)
}

async fn delete(server: &Server, name: &str) {
    let verb = Verb::Delete(DeleteOptions::default());
    server.call(verb, &SERVICES, "default", name, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_creates_at_once_never_share_an_address_or_a_port() {
    let server = Arc::new(Server::start().await);
    let mut creates = tokio::task::JoinSet::new();
    for number in 0..200 {
        let server = server.clone();
        creates.spawn(async move { create(&server, service(&format!("s{number}"), web("NodePort"))).await.unwrap() });
    }
    let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
    while let Some(made) = creates.join_next().await {
        let made = made.unwrap();
        assert!(addresses.insert(made["spec"]["clusterIP"].as_str().unwrap().to_owned()), "{made}");
        assert!(ports.insert(made["spec"]["ports"][0]["nodePort"].as_i64().unwrap()), "{made}");
    }
    assert_eq!((addresses.len(), ports.len()), (200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_one_address_one_gets_it() {
    let server = Arc::new(Server::start().await);
    let mut creates = tokio::task::JoinSet::new();
    for number in 0..50 {
        let server = server.clone();
        let mut spec = web("ClusterIP");
        spec["clusterIP"] = json!("10.43.9.9");
        creates.spawn(async move { create(&server, service(&format!("s{number}"), spec)).await });
    }
    let mut made = 0;
    while let Some(outcome) = creates.join_next().await {
        match outcome.unwrap() {
            Ok(_) => made += 1,
            Err(status) => {
                assert_eq!(status.reason, Reason::Invalid);
                assert!(status.message.contains("provided IP is already allocated"), "{}", status.message);
            }
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_that_clients_walk_away_from_never_lead_to_a_shared_address() {
    let server = Arc::new(Server::start().await);
    for round in 0..20 {
        let mut creates = tokio::task::JoinSet::new();
        for number in 0..10 {
            let server = server.clone();
            let mut spec = web("ClusterIP");
            spec["clusterIP"] = json!(format!("10.43.20.{}", round + 1));
            creates.spawn(async move { create(&server, service(&format!("s{round}-{number}"), spec)).await });
        }
        tokio::task::yield_now().await;
        creates.shutdown().await;
    }
    // A write that nobody waits for any more may still land: one more write is answered after it.
    create(&server, service("last", web("ClusterIP"))).await.unwrap();
    let listing = server.api.store().list(&SERVICES, Some("default"), &Page::default());
    let mut seen = BTreeSet::new();
    for object in listing.items {
        let object: Value = serde_json::from_slice(&object.json).unwrap();
        assert!(seen.insert(object["spec"]["clusterIP"].as_str().unwrap().to_owned()), "{object}");
    }
}

#[tokio::test]
async fn what_is_let_go_can_be_had_again() {
    let server = Server::start().await;
    let mut spec = web("NodePort");
    spec["clusterIP"] = json!("10.43.9.9");
    spec["ports"][0]["nodePort"] = json!(30080);
    create(&server, service("a", spec.clone())).await.unwrap();
    let status = create(&server, service("b", spec.clone())).await.unwrap_err();
    assert_eq!((status.code(), status.reason), (422, Reason::Invalid));
    delete(&server, "a").await;
    create(&server, service("b", spec)).await.unwrap();
    // A change of type lets the port go.
    let changed = patch(&server, "b", json!({"spec": {"type": "ClusterIP"}})).await.unwrap();
    assert_eq!(changed["spec"]["ports"][0].get("nodePort"), None);
    assert_eq!(changed["spec"]["clusterIP"], "10.43.9.9");
    let mut other = web("NodePort");
    other["ports"][0]["nodePort"] = json!(30080);
    create(&server, service("c", other)).await.unwrap();
    let changed = patch(&server, "b", json!({"spec": {"type": "ExternalName", "externalName": "a.b"}})).await.unwrap();
    assert_eq!(changed["spec"].get("clusterIP"), None);
    let mut other = web("ClusterIP");
    other["clusterIP"] = json!("10.43.9.9");
    create(&server, service("d", other)).await.unwrap();
    // Back again, with another address.
    let back = json!({"spec": {"type": "ClusterIP", "externalName": null, "clusterIP": null}});
    let changed = patch(&server, "b", back).await.unwrap();
    assert!(changed["spec"]["clusterIP"].as_str().unwrap().starts_with("10.43."), "{changed}");
}

#[tokio::test]
async fn a_dry_run_shows_an_address_and_takes_none() {
    let server = Server::start().await;
    let mut spec = web("NodePort");
    spec["clusterIP"] = json!("10.43.9.9");
    let call = Call {
        user: User::system("test"),
        verb: Verb::Create(service("a", spec.clone())),
        resource: &SERVICES,
        subresource: None,
        namespace: "default".to_owned(),
        name: String::new(),
        options: WriteOptions { dry_run: true, ..WriteOptions::default() },
    };
    let shown = value(server.api.call(call).await).unwrap();
    assert!(shown["spec"]["ports"][0]["nodePort"].as_i64().unwrap() >= 30000);
    create(&server, service("b", spec)).await.unwrap();
}

#[tokio::test]
async fn an_update_keeps_what_it_does_not_name() {
    let server = Server::start().await;
    let made = create(&server, service("a", web("LoadBalancer"))).await.unwrap();
    let update = Verb::Update(service("a", web("LoadBalancer")));
    let same = value(server.call(update, &SERVICES, "default", "a", None).await).unwrap();
    assert_eq!(same, made);
    let local = patch(&server, "a", json!({"spec": {"externalTrafficPolicy": "Local"}})).await.unwrap();
    let check = local["spec"]["healthCheckNodePort"].as_i64().unwrap();
    assert!((30000..=32767).contains(&check));
    assert_ne!(json!(check), local["spec"]["ports"][0]["nodePort"]);
    let status = patch(&server, "a", json!({"spec": {"healthCheckNodePort": check + 1}})).await.unwrap_err();
    assert!(status.message.contains("field is immutable"), "{}", status.message);
    let ingress = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.168.1.9"}]}}});
    let verb = Verb::Patch(PatchKind::Merge, ingress.to_string().into());
    let shown = value(server.call(verb, &SERVICES, "default", "a", Some("status")).await).unwrap();
    assert_eq!(shown["status"]["loadBalancer"]["ingress"][0]["ipMode"], "VIP");
    let plain = patch(&server, "a", json!({"spec": {"type": "ClusterIP"}})).await.unwrap();
    assert_eq!(plain["status"], json!({"loadBalancer": {}}));
    assert_eq!(plain["spec"].get("healthCheckNodePort"), None);
    let status = patch(&server, "a", json!({"spec": {"clusterIP": "10.43.1.2"}})).await.unwrap_err();
    assert!(status.message.contains("may not change once set"), "{}", status.message);
}

#[tokio::test]
async fn the_clusters_own_services_come_back_as_they_were() {
    let server = Server::start().await;
    let (stop, stopping) = watch::channel(false);
    let keeper = tokio::spawn(services::keep(server.api.clone(), server.port, stopping));
    let at = |namespace: &str, name: &str| {
        let object = server.api.store().get(&Key::new(&SERVICES, namespace, name));
        object.map(|object| serde_json::from_slice::<Value>(&object.json).unwrap())
    };
    let comes = |namespace: &'static str, name: &'static str, holds: fn(&Value) -> bool| {
        let mut events = server.api.store().watch(&SERVICES, server.api.store().revision()).unwrap();
        async move {
            let wait = async {
                while !at(namespace, name).is_some_and(|object| holds(&object)) {
                    events.next().await.unwrap();
                }
            };
            tokio::time::timeout(PATIENCE, wait).await.unwrap();
        }
    };
    let kubernetes = |object: &Value| {
        object["spec"]["clusterIP"] == "10.43.0.1"
            && object["spec"]["type"] == "ClusterIP"
            && object["spec"]["ports"][0]["port"] == 443
            && object["metadata"]["labels"]["provider"] == "kubernetes"
    };
    comes("default", "kubernetes", kubernetes).await;
    comes("kube-system", "kube-dns", |object| object["spec"]["clusterIP"] == "10.43.0.10").await;
    assert_eq!(at("default", "kubernetes").unwrap()["spec"]["ports"][0]["targetPort"], server.port);
    let changed =
        json!({"metadata": {"labels": {"provider": "me"}}, "spec": {"type": "NodePort", "selector": {"a": "b"}}});
    patch(&server, "kubernetes", changed).await.unwrap();
    comes("default", "kubernetes", kubernetes).await;
    delete(&server, "kubernetes").await;
    comes("default", "kubernetes", kubernetes).await;
    // Nobody else gets the address meanwhile.
    let mut spec = web("ClusterIP");
    spec["clusterIP"] = json!("10.43.0.1");
    assert!(create(&server, service("thief", spec)).await.is_err());
    stop.send_replace(true);
    keeper.await.unwrap();
}
