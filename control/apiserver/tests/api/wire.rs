//! What travels over HTTPS: lists, watches, errors, WebSockets.

use crate::client::{self, As, JSON, Lines, MAPS, get, get_as};
use crate::server::{Server, TOKEN};
use control_api::resource::{CONFIG_MAPS, PODS};
use control_apiserver::{DeleteOptions, PatchKind, Verb};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

async fn map(server: &Server, name: &str, side: &str) {
    let object = json!({"metadata": {"name": name, "labels": {"side": side}}});
    server.create(&CONFIG_MAPS, "default", object).await;
}

async fn relabel(server: &Server, name: &str, side: &str) {
    let patch = json!({"metadata": {"labels": {"side": side}}}).to_string();
    server.call(Verb::Patch(PatchKind::Merge, patch.into()), &CONFIG_MAPS, "default", name, None).await.unwrap();
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_of_one_list_are_of_one_moment() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d"] {
        map(&server, name, "left").await;
    }
    let (_, first) = get(&server, &format!("{MAPS}?limit=2")).await;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    let token = first["metadata"]["continue"].as_str().unwrap();
    map(&server, "bb", "left").await;
    server.call(Verb::Delete(DeleteOptions::default()), &CONFIG_MAPS, "default", "c", None).await.unwrap();
    let (_, second) = get(&server, &format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let (_, now) = get(&server, MAPS).await;
    assert_eq!(names(&now), ["a", "b", "bb", "d"]);
}

#[tokio::test]
async fn a_selector_turns_moves_into_additions_and_deletions() {
    let server = Server::start().await;
    map(&server, "a", "left").await;
    let mut lines = Lines::open(&server, &format!("{MAPS}?watch=1&labelSelector=side%3Dright"), JSON).await;
    relabel(&server, "a", "right").await;
    let added = lines.next().await.unwrap();
    assert_eq!((&added["type"], &added["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("a")));
    relabel(&server, "a", "left").await;
    let deleted = lines.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(deleted["object"]["metadata"]["labels"]["side"], "right");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_never_skips_repeats_or_reorders() {
    const WRITES: usize = 500;
    let server = Server::start().await;
    let (_, list) = get(&server, MAPS).await;
    let from = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut lines = Lines::open(&server, &format!("{MAPS}?watch=1&resourceVersion={from}"), JSON).await;
    let writer = async {
        for number in 0..WRITES {
            map(&server, &format!("m{number}"), "left").await;
        }
    };
    let reader = async {
        let mut newest = from.parse::<u64>().unwrap();
        for number in 0..WRITES {
            let event = lines.next().await.unwrap();
            assert_eq!(event["object"]["metadata"]["name"], format!("m{number}"));
            let revision = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            assert!(revision > newest);
            newest = revision;
        }
    };
    tokio::join!(writer, reader);
}

#[tokio::test]
async fn a_watch_from_a_forgotten_revision_is_told_410_in_an_event() {
    let server = Server::start().await;
    map(&server, "a", "left").await;
    for number in 0..2100 {
        relabel(&server, "a", &number.to_string()).await;
    }
    let mut lines = Lines::open(&server, &format!("{MAPS}?watch=1&resourceVersion=2"), JSON).await;
    let error = lines.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(error["object"]["reason"], "Expired");
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn initial_events_end_in_the_annotated_bookmark() {
    let server = Server::start().await;
    map(&server, "a", "left").await;
    let query =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=60";
    let mut lines = Lines::open(&server, &format!("{MAPS}?{query}"), JSON).await;
    assert_eq!(lines.next().await.unwrap()["type"], "ADDED");
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn tables_carry_columns_and_the_metadata_of_each_row() {
    let server = Server::start().await;
    map(&server, "a", "left").await;
    let (_, table) = get_as(&server, As::Admin, MAPS, TABLE).await;
    assert_eq!((&table["kind"], &table["columnDefinitions"][0]["name"]), (&json!("Table"), &json!("Name")));
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let mut lines = Lines::open(&server, &format!("{MAPS}?watch=1"), TABLE).await;
    let event = lines.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
}

#[tokio::test]
async fn strangers_see_health_and_nothing_else() {
    let server = Server::start().await;
    let (code, status) = get_as(&server, As::Anonymous, "/api/v1/namespaces/default/pods", JSON).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    let words = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
    assert_eq!(status["message"], words);
    assert_eq!(get_as(&server, As::Anonymous, "/version/", JSON).await.0, StatusCode::OK);
    let mut request = client::get_request(MAPS, JSON);
    request.headers_mut().insert("authorization", format!("Bearer {TOKEN}").try_into().unwrap());
    assert_eq!(client::send(&server, As::Anonymous, request).await.status(), StatusCode::FORBIDDEN);
    let mut request = client::get_request("/version", JSON);
    request.headers_mut().insert("authorization", "Bearer nonsense".try_into().unwrap());
    assert_eq!(client::send(&server, As::Anonymous, request).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn discovery_is_not_sent_twice() {
    let server = Server::start().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let (_, headers, body) = client::get_all(&server, As::Admin, "/apis", accept).await;
    let list: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(list["kind"], "APIGroupDiscoveryList");
    let mut request = client::get_request("/apis", accept);
    request.headers_mut().insert("if-none-match", headers["etag"].clone());
    assert_eq!(client::send(&server, As::Admin, request).await.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let server = Server::start().await;
    let object = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    server.create(&CONFIG_MAPS, "default", object).await;
    server.call(Verb::Delete(DeleteOptions::default()), &CONFIG_MAPS, "default", "held", None).await.unwrap();
    let (code, held) = get(&server, &format!("{MAPS}/held")).await;
    assert_eq!(code, StatusCode::OK);
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    server.call(Verb::Patch(PatchKind::Merge, patch.into()), &CONFIG_MAPS, "default", "held", None).await.unwrap();
    assert_eq!(get(&server, &format!("{MAPS}/held")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn exec_speaks_v4_and_v5_over_a_websocket() {
    let server = Server::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "x:1"}]}});
    server.create(&PODS, "default", pod).await;
    let binding = json!({"target": {"kind": "Node", "name": "node"}});
    server.call(Verb::Create(binding), &PODS, "default", "p", Some("binding")).await.unwrap();
    for protocol in ["v5.channel.k8s.io", "v4.channel.k8s.io"] {
        let url = "wss://localhost/api/v1/namespaces/default/pods/p/exec?command=cat&stdin=true&stdout=true";
        let request = http::Request::get(url)
            .header("host", "localhost")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", protocol)
            .body(())
            .unwrap();
        let stream = client::connect(&server, As::Admin).await;
        let (mut socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
        socket.send(Message::Binary(vec![0, b'h', b'i'].into())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_data().as_ref(), [1, b'h', b'i']);
        if protocol.starts_with("v5") {
            socket.send(Message::Binary(vec![255, 0].into())).await.unwrap();
            let end = socket.next().await.unwrap().unwrap().into_data();
            assert_eq!(end[0], 3);
            assert_eq!(serde_json::from_slice::<Value>(&end[1..]).unwrap()["status"], "Success");
        }
    }
}
