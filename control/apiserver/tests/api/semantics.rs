//! What the verbs promise beside the plain case, and what the server does at its limits and at its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{self, As, JSON, Lines, MAPS, get, get_as, get_request, send};
use crate::server::Server;
use bytes::Bytes;
use control_api::resource::{CONFIG_MAPS, PODS};
use control_api::{Resource, Status};
use control_apiserver::{DeleteOptions, PatchKind, Preconditions, Verb};
use control_store::store::BoxFuture;
use control_store::{Expired, Key, Listing, MemoryStore, Object, Page, Store, Watch, Write, WriteError};
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

async fn ask(server: &Server, method: Method, path: &str, kind: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).header("host", "localhost").header("content-type", kind);
    let request = request.body(Full::from(body.to_owned())).unwrap();
    let response = send(server, As::Admin, request).await;
    let code = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn map(server: &Server, name: &str, side: &str) {
    server.create(&CONFIG_MAPS, "default", json!({"metadata": {"name": name, "labels": {"side": side}}})).await;
}

async fn relabel(server: &Server, name: &str, side: &str) -> Result<(), Status> {
    let patch = json!({"metadata": {"labels": {"side": side}}}).to_string();
    let verb = Verb::Patch(PatchKind::Merge, patch.into());
    server.call(verb, &CONFIG_MAPS, "default", name, None).await.map(drop)
}

#[tokio::test]
async fn deletecollection_takes_what_is_selected_and_a_dry_run_nothing() {
    let server = Server::start().await;
    for (name, side) in [("a", "left"), ("b", "right"), ("c", "left")] {
        map(&server, name, side).await;
    }
    let selected = format!("{MAPS}?labelSelector=side%3Dleft");
    let (code, _) = ask(&server, Method::DELETE, &format!("{selected}&dryRun=All"), JSON, "").await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(get(&server, MAPS).await.1["items"].as_array().unwrap().len(), 3);
    let (code, status) = ask(&server, Method::DELETE, &selected, JSON, "").await;
    assert_eq!((code, &status["status"]), (StatusCode::OK, &json!("Success")));
    let (_, left) = get(&server, MAPS).await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
}

#[tokio::test]
async fn a_list_that_expired_can_go_on_with_what_is_there_now() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        map(&server, name, "left").await;
    }
    let token = |list: &Value| list["metadata"]["continue"].as_str().unwrap().to_owned();
    let (_, first) = get(&server, &format!("{MAPS}?limit=1")).await;
    for number in 0..2100 {
        relabel(&server, "c", &number.to_string()).await.unwrap();
    }
    let (code, status) = get(&server, &format!("{MAPS}?limit=1&continue={}", token(&first))).await;
    assert_eq!((code, &status["reason"]), (StatusCode::GONE, &json!("Expired")));
    let (code, second) = get(&server, &format!("{MAPS}?continue={}", token(&status))).await;
    assert_eq!((code, second["items"].as_array().unwrap().len()), (StatusCode::OK, 2));
    assert_eq!(second["items"][0]["metadata"]["name"], "b");
}

#[tokio::test]
async fn a_precondition_that_does_not_hold_stops_a_deletion() {
    let server = Server::start().await;
    map(&server, "a", "left").await;
    let (_, object) = get(&server, &format!("{MAPS}/a")).await;
    let delete = |uid: &str, version: &str| {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: Some(version.to_owned()) };
        let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
        server.call(Verb::Delete(options), &CONFIG_MAPS, "default", "a", None)
    };
    let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    let (uid, version) = (text("uid"), text("resourceVersion"));
    assert_eq!(delete("another", &version).await.unwrap_err().code(), 409);
    assert_eq!(delete(&uid, "1").await.unwrap_err().code(), 409);
    delete(&uid, &version).await.unwrap();
}

#[tokio::test]
async fn a_dry_run_answers_what_would_be_without_a_revision() {
    let server = Server::start().await;
    let body = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"try"},"data":{"a":"b"}}"#;
    let (code, object) = ask(&server, Method::POST, &format!("{MAPS}?dryRun=All"), JSON, body).await;
    assert_eq!((code, &object["data"]["a"]), (StatusCode::CREATED, &json!("b")));
    assert_eq!(object["metadata"]["resourceVersion"], Value::Null);
    assert!(object["metadata"]["uid"].is_string());
    assert_eq!(get(&server, &format!("{MAPS}/try")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bodies_may_be_yaml() {
    let server = Server::start().await;
    let body =
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: why\ndata:\n  a: \"1\"\n  text: |\n    two\n    lines\n";
    let (code, object) = ask(&server, Method::POST, MAPS, "application/yaml", body).await;
    assert_eq!((code, &object["data"]["text"]), (StatusCode::CREATED, &json!("two\nlines\n")));
    let patch = "data:\n  a: \"2\"\n";
    let (code, object) =
        ask(&server, Method::PATCH, &format!("{MAPS}/why"), "application/merge-patch+json", patch).await;
    assert_eq!((code, &object["data"]["a"]), (StatusCode::OK, &json!("2")));
    let (code, status) = ask(&server, Method::POST, MAPS, "application/yaml", "a: [1\n").await;
    assert_eq!((code, &status["reason"]), (StatusCode::BAD_REQUEST, &json!("BadRequest")));
}

#[tokio::test]
async fn generated_names_are_all_different() {
    let server = Server::start().await;
    for _ in 0..50 {
        server.create(&CONFIG_MAPS, "default", json!({"metadata": {"generateName": "made-"}})).await;
    }
    let (_, list) = get(&server, MAPS).await;
    let names = list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("made-") && name.len() == 10).count(), 50);
}

async fn bound_pod(server: &Server, container: &str) {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": container, "image": "x:1"}]}});
    server.create(&PODS, "default", pod).await;
    let binding = json!({"target": {"kind": "Node", "name": "node"}});
    server.call(Verb::Create(binding), &PODS, "default", "p", Some("binding")).await.unwrap();
    let status = json!({"status": {"containerStatuses": [{
        "name": container, "ready": true, "restartCount": 0, "image": "x:1", "imageID": "x",
        "state": {"running": {}},
    }]}});
    let verb = Verb::Patch(PatchKind::Merge, status.to_string().into());
    server.call(verb, &PODS, "default", "p", Some("status")).await.unwrap();
}

#[tokio::test]
async fn a_handler_that_panics_is_a_500_and_the_server_goes_on() {
    let server = Server::start().await;
    bound_pod(&server, "trap").await;
    let (code, status) = get(&server, "/api/v1/namespaces/default/pods/p/log").await;
    assert_eq!((code, &status["reason"]), (StatusCode::INTERNAL_SERVER_ERROR, &json!("InternalError")));
    assert_eq!(get(&server, MAPS).await.0, StatusCode::OK);
}

/// A store whose log has failed.
#[derive(Default)]
struct Broken(MemoryStore);

impl Store for Broken {
    fn write(&self, write: Write) -> BoxFuture<'_, Result<Arc<Object>, WriteError>> {
        self.0.write(write)
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.0.get(key)
    }

    fn list(&self, resource: &'static Resource, namespace: Option<&str>, page: &Page) -> Listing {
        self.0.list(resource, namespace, page)
    }

    fn watch(&self, resource: &'static Resource, from: u64) -> Result<Watch, Expired> {
        self.0.watch(resource, from)
    }

    fn revision(&self) -> u64 {
        self.0.revision()
    }

    fn failure(&self) -> Option<String> {
        Some("no space left".to_owned())
    }
}

#[tokio::test]
async fn a_store_that_cannot_write_is_not_ready_and_still_alive() {
    let server = Server::start_on(Arc::new(Broken::default())).await;
    assert_eq!(get_as(&server, As::Anonymous, "/livez", JSON).await.0, StatusCode::OK);
    let (code, _, body) = client::get_all(&server, As::Anonymous, "/readyz", JSON).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(String::from_utf8_lossy(&body).contains("[-]store failed: no space left"));
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let server = Server::start().await;
    let mut request = get_request(MAPS, JSON);
    request.headers_mut().insert("x-large", "x".repeat(200 << 10).try_into().unwrap());
    let code = send(&server, As::Admin, request).await.status();
    assert_eq!(code, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(get(&server, MAPS).await.0, StatusCode::OK);
}

#[tokio::test]
async fn only_groups_with_resources_are_advertised() {
    let server = Server::start().await;
    let (_, groups) = get(&server, "/apis").await;
    for group in groups["groups"].as_array().unwrap() {
        let version = group["preferredVersion"]["groupVersion"].as_str().unwrap();
        let (_, resources) = get(&server, &format!("/apis/{version}")).await;
        assert!(!resources["resources"].as_array().unwrap().is_empty(), "{version} is empty");
    }
}

#[tokio::test]
async fn a_shutdown_ends_open_watches_and_logs_at_once() {
    let mut server = Server::start().await;
    bound_pod(&server, "main").await;
    map(&server, "a", "left").await;
    let mut watch = Lines::open(&server, &format!("{MAPS}?watch=1"), JSON).await;
    assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    let path = "/api/v1/namespaces/default/pods/p/log?follow=true";
    let mut log = send(&server, As::Admin, get_request(path, JSON)).await.into_body();
    assert!(log.frame().await.unwrap().unwrap().into_data().unwrap().starts_with(b"p/main"));
    let mut stopped = tokio::spawn(async move { (watch.next().await, log.frame().await.is_none()) });
    server.stop.take().unwrap().send(()).unwrap();
    let serving = server.serving.take().unwrap();
    tokio::time::timeout(PATIENCE, serving).await.expect("in time").unwrap().unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, &mut stopped).await.unwrap().unwrap(), (None, true));
}

#[tokio::test]
async fn a_terminal_learns_its_size() {
    let server = Server::start().await;
    bound_pod(&server, "main").await;
    let url = "wss://localhost/api/v1/namespaces/default/pods/p/exec?command=size&tty=true&stdin=true&stdout=true";
    let request = Request::get(url)
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "v5.channel.k8s.io")
        .body(())
        .unwrap();
    let stream = client::connect(&server, As::Admin).await;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    for size in [&br#"{"Width":80,"Height":24}"#[..], b"nonsense", br#"{"Width":132,"Height":50}"#] {
        let message: Bytes = [&[4][..], size].concat().into();
        socket.send(Message::Binary(message)).await.unwrap();
    }
    for size in ["80x24", "132x50"] {
        let data = socket.next().await.unwrap().unwrap().into_data();
        assert_eq!((data[0], &data[1..]), (1, size.as_bytes()));
    }
}

const WRITERS: usize = 3;
const CHANGES: usize = 120;

/// Follows all changes from `from` on, leaving after every `stay` events and resuming at the last one's revision,
/// until the object `end` appears. What it saw, and each name's last state.
async fn wander(server: &Server, from: u64, stay: usize) -> (Vec<u64>, BTreeMap<String, Value>) {
    let (mut at, mut seen, mut last) = (from, Vec::new(), BTreeMap::new());
    loop {
        let mut lines = Lines::open(server, &format!("{MAPS}?watch=1&resourceVersion={at}"), JSON).await;
        for _ in 0..stay {
            let event = lines.next().await.unwrap();
            let metadata = &event["object"]["metadata"];
            at = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
            seen.push(at);
            let name = metadata["name"].as_str().unwrap().to_owned();
            match (event["type"].as_str().unwrap(), last.contains_key(&name)) {
                ("ADDED", false) | ("MODIFIED", true) => drop(last.insert(name.clone(), event["object"].clone())),
                ("DELETED", true) => drop(last.remove(&name)),
                (kind, there) => panic!("{kind} of {name}, which {}", if there { "is there" } else { "is not" }),
            }
            if name == "end" {
                return (seen, last);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_come_and_go_miss_and_repeat_nothing() {
    let server = Arc::new(Server::start().await);
    let from = server.api.store().revision();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let server = server.clone();
            tokio::spawn(async move {
                for number in 0..CHANGES {
                    let name = format!("m{writer}-{}", number % 7);
                    match number % 3 {
                        0 if relabel(&server, &name, &number.to_string()).await.is_ok() => {}
                        0 | 1 => {
                            let object = json!({"metadata": {"name": name}});
                            let _there = server.call(Verb::Create(object), &CONFIG_MAPS, "default", "", None).await;
                        }
                        _ => {
                            let verb = Verb::Delete(DeleteOptions::default());
                            let _gone = server.call(verb, &CONFIG_MAPS, "default", &name, None).await;
                        }
                    }
                }
            })
        })
        .collect();
    let watchers: Vec<_> = [1, 3, 17, 1000]
        .into_iter()
        .map(|stay| {
            let server = server.clone();
            tokio::spawn(async move { wander(&server, from, stay).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    map(&server, "end", "").await;
    let mut all = Vec::new();
    for watcher in watchers {
        all.push(tokio::time::timeout(PATIENCE * 3, watcher).await.expect("in time").unwrap());
    }
    let (_, list) = get(&server, MAPS).await;
    let items = list["items"].as_array().unwrap().iter();
    let names: BTreeMap<String, String> = items
        .map(|item| {
            let text = |field: &str| item["metadata"][field].as_str().unwrap().to_owned();
            (text("name"), text("resourceVersion"))
        })
        .collect();
    for (seen, last) in &all {
        assert!(seen.is_sorted_by(|a, b| a < b), "revisions only grow");
        assert_eq!(seen, &all[0].0, "every watcher saw the same");
        let versions = last
            .iter()
            .map(|(name, object)| (name.clone(), object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()));
        assert_eq!(versions.collect::<BTreeMap<_, _>>(), names, "what they saw is what is there");
    }
}
