//! Bodies, patches, selectors and HTTP that mean no good: a clear refusal each, and nothing changed.

use std::time::{Duration, Instant};

use crate::client::{As, JSON, MAPS, connect, get, send};
use crate::server::Server;
use bytes::Bytes;
use control_api::resource::CONFIG_MAPS;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const KEPT: &str = "/api/v1/namespaces/default/configmaps/kept";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// No refusal may take longer.
const REFUSAL_MAX: Duration = Duration::from_secs(20);

async fn start() -> Server {
    let server = Server::start().await;
    server.create(&CONFIG_MAPS, "default", json!({"metadata": {"name": "kept"}, "data": {"a": "b"}})).await;
    server
}

struct Case<'a>(Method, &'a str, &'a str, Vec<u8>, u16, &'a str);

/// Sends all, as the administrator; none may change anything.
async fn refuse(server: &Server, cases: Vec<Case<'_>>) {
    let before = server.api.store().revision();
    let mut wrong = Vec::new();
    for Case(method, path, kind, body, code, words) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let request = Request::builder().method(method.clone()).uri(path).header("host", "localhost");
        let request = request.header("content-type", kind).body(Full::new(Bytes::from(body))).unwrap();
        let started = Instant::now();
        let response = send(server, As::Admin, request).await;
        let found = response.status().as_u16();
        let said = response.into_body().collect().await.unwrap().to_bytes();
        let said = String::from_utf8_lossy(&said[..said.len().min(400)]).into_owned();
        if found != code || !said.contains(words) || started.elapsed() > REFUSAL_MAX {
            wrong.push(format!("{method} {path} {kind} {shown}\n  wanted {code} {words}\n  found {found} {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(server.api.store().revision(), before, "something was changed");
    assert_eq!(get(server, KEPT).await.0, 200);
}

fn post<'a>(kind: &'a str, body: impl Into<Vec<u8>>, code: u16, words: &'a str) -> Case<'a> {
    Case(Method::POST, "/api/v1/namespaces/default/configmaps?fieldValidation=Strict", kind, body.into(), code, words)
}

fn patch<'a>(kind: &'a str, body: impl Into<Vec<u8>>, code: u16, words: &'a str) -> Case<'a> {
    Case(Method::PATCH, KEPT, kind, body.into(), code, words)
}

#[tokio::test]
async fn json_that_is_none() {
    let deep = |open: &str, times: usize| [r#"{"data":"#.to_owned(), open.repeat(times)].concat();
    let cases = vec![
        post(JSON, "", 400, "couldn't parse the body as JSON"),
        post(JSON, "{\"metadata\":", 400, "EOF while parsing"),
        post(JSON, "{} {}", 400, "trailing characters"),
        post(JSON, "[]", 400, "the body is not an object"),
        post(JSON, "null", 400, "the body is not an object"),
        post(JSON, deep("[", 100_000), 400, "max depth"),
        post(JSON, deep("{\"a\":", 100_000), 400, "max depth"),
        post(JSON, b"{\"metadata\":{\"name\":\"\xff\xfe\"}}".to_vec(), 400, "couldn't parse the body as JSON"),
        post(JSON, r#"{"metadata":{"name":"\ud800"}}"#, 400, "couldn't parse the body as JSON"),
        post(JSON, r#"{"data":{"a":1e999}}"#, 400, "couldn't parse the body as JSON"),
        post(JSON, r#"{"metadata":{"name":"a","name":"b"}}"#, 400, "duplicate field \\\"metadata.name\\\""),
        post(JSON, r#"{"metadata":{"name":"a"},"dada":{}}"#, 400, "unknown field \\\"dada\\\""),
        post(JSON, r#"{"metadata":{"name":"a"},"data":{"a":5}}"#, 400, "data"),
        post(JSON, r#"{"metadata":{"name":"a"},"data":{"../a":"b"}}"#, 422, "data[../a]: Invalid value"),
        post(JSON, r#"{"metadata":{"name":"../../etc"}}"#, 422, "metadata.name: Invalid value"),
        post(JSON, r#"{"kind":"Secret","metadata":{"name":"a"}}"#, 400, "Secret"),
        post(JSON, vec![b' '; (3 << 20) + 1], 413, "Request entity too large: limit is 3145728"),
        post("text/html", "{}", 415, "unknown format"),
    ];
    refuse(&start().await, cases).await;
}

#[tokio::test]
async fn yaml_that_explodes() {
    let mut laughs = "a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n".to_owned();
    for n in 1..12 {
        let last = n - 1;
        laughs.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{last}"); 9].join(",")));
    }
    let cases = vec![
        post(YAML, laughs, 400, "error converting YAML to JSON"),
        post(YAML, "a: &a [*a]\n", 400, "error converting YAML to JSON"),
        post(YAML, "metadata: *nobody\n", 400, "error converting YAML to JSON"),
        post(YAML, "[".repeat(100_000), 400, "error converting YAML to JSON"),
        post(YAML, "a: ".repeat(50_000), 400, "error converting YAML to JSON"),
        post(YAML, "metadata: {name: a}\nmetadata: {name: b}\n", 400, "duplicate field \\\"metadata\\\""),
        post(YAML, "metadata: {name: a}\n---\nmetadata: {name: b}\n", 400, "error converting YAML to JSON"),
        post(YAML, "metadata:\n\tname: a\n", 400, "error converting YAML to JSON"),
        post(YAML, "just words", 400, "the body is not an object"),
        post(YAML, b"\xff\xfe\x00".to_vec(), 400, "error converting YAML to JSON"),
        post(YAML, "metadata: {name: a}\n? [a, b]\n: c\n", 400, "error converting YAML to JSON"),
    ];
    refuse(&start().await, cases).await;
}

#[tokio::test]
async fn protobuf_that_lies() {
    let envelope = |kind: &str, raw: &[u8]| {
        let meta = [b"\x0a\x02v1\x12".as_slice(), &[u8::try_from(kind.len()).unwrap()], kind.as_bytes()].concat();
        let mut bytes = b"k8s\0\x0a".to_vec();
        bytes.push(u8::try_from(meta.len()).unwrap());
        bytes.extend(meta);
        bytes.push(0x12);
        let mut length = raw.len();
        while length > 0x7f {
            bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap());
        bytes.extend(raw);
        bytes
    };
    let cases = vec![
        post(PROTOBUF, "{}", 400, "expected prefix [107 56 115 0]"),
        post(PROTOBUF, b"k8s\0\x0a\xff".to_vec(), 400, "proto:"),
        post(PROTOBUF, envelope("Gadget", b""), 400, "no kind \\\"Gadget\\\" is registered"),
        post(PROTOBUF, envelope("ConfigMap", b"\x0a\xff\xff\xff\xff\x0f"), 400, "proto:"),
        post(PROTOBUF, envelope("ConfigMap", &[0xff; 200]), 400, "proto:"),
        post(PROTOBUF, envelope("ConfigMap", b"\x08\x01"), 400, "wrong wire type"),
        post(PROTOBUF, envelope("ConfigMap", b"\x0a\x04\x0a\x02\xff\xfe"), 400, "is not valid UTF-8"),
        post(PROTOBUF, envelope("ConfigMap", &b"\x0a\x00".repeat(1 << 18)), 422, "metadata.name: Required value"),
    ];
    refuse(&start().await, cases).await;
}

#[tokio::test]
async fn patches_that_do_not_fit() {
    let many = format!("[{}]", vec![r#"{"op":"test","path":"/kind","value":"ConfigMap"}"#; 10_001].join(","));
    let double = r#"{"op":"copy","from":"/data","path":"/data/x"}"#;
    let bomb = format!("[{}]", vec![double; 64].join(","));
    let pad = format!("[{{\"op\":\"add\",\"path\":\"/data/a\",\"value\":\"{}\"}}]", "a".repeat(2 << 20));
    let cases = vec![
        patch(JSON_PATCH, "{}", 400, "error decoding patch"),
        patch(JSON_PATCH, "[{\"op\":\"explode\",\"path\":\"/a\"}]", 400, "error decoding patch"),
        patch(JSON_PATCH, "[{\"op\":\"remove\",\"path\":\"data\"}]", 400, ""),
        patch(JSON_PATCH, "[{\"op\":\"remove\",\"path\":\"/no/where\"}]", 422, "error in our request"),
        patch(JSON_PATCH, "[{\"op\":\"test\",\"path\":\"/kind\",\"value\":\"Pod\"}]", 422, "value did not match"),
        patch(JSON_PATCH, many, 413, "allowed maximum operations in a JSON patch is 10000"),
        patch(JSON_PATCH, bomb, 400, "cannot unmarshal object"),
        patch(JSON_PATCH, "[{\"op\":\"replace\",\"path\":\"\",\"value\":5}]", 400, ""),
        patch(JSON_PATCH, pad, 422, "Too long: may not be more than 1048576 bytes"),
        patch(MERGE, "5", 400, "a patch must be an object"),
        patch(MERGE, "{\"metadata\":5}", 400, ""),
        patch(MERGE, "{\"metadata\":{\"name\":\"other\"}}", 400, "name"),
        patch(MERGE, "{\"metadata\":{\"uid\":\"other\"}}", 409, "Precondition failed: UID"),
        patch(MERGE, "{\"metadata\":{\"resourceVersion\":\"1\"}}", 409, "the object has been modified"),
        patch(MERGE, "{\"data\":5}", 400, "data"),
        patch(MERGE, "{\"a\":".repeat(50_000), 400, "error decoding patch"),
        patch(STRATEGIC, "[]", 400, "a patch must be an object"),
        patch(STRATEGIC, "{\"$patch\":\"explode\"}", 400, "unknown patch type found: explode"),
        patch(STRATEGIC, "{\"metadata\":{\"finalizers\":5}}", 400, ""),
        patch(STRATEGIC, "{\"$setElementOrder/data\":5,\"data\":5}", 400, ""),
        patch("application/x-patch", "{}", 415, "accepted media types include"),
        patch("application/apply-patch+yaml", "{}", 415, "accepted media types include"),
    ];
    refuse(&start().await, cases).await;
}

#[tokio::test]
async fn selectors_options_and_paths_that_ask_for_nothing() {
    let list = |query: &str| format!("{MAPS}?{query}");
    let long = list(&format!("labelSelector={}", "a,".repeat(20_000)));
    let paths = [
        (list("labelSelector=a%20in%20("), 400, ""),
        (list("labelSelector=a%3D%3D%3Db"), 400, ""),
        (list("labelSelector=-a-"), 400, ""),
        (list("labelSelector=%00"), 400, ""),
        (list("fieldSelector=spec.secret%3Da"), 400, "field label not supported"),
        (list("fieldSelector=a%3D%3D%3D"), 400, ""),
        (list("limit=many"), 400, "limit: strconv.ParseInt: parsing \\\"many\\\": invalid syntax"),
        (list("continue=nonsense"), 400, "continue"),
        (list("resourceVersion=nonsense"), 422, "resourceVersion"),
        (list("watch=1&resourceVersion=99999999999999999999999"), 422, "resourceVersion"),
        (list("watch=1&timeoutSeconds=soon"), 400, "timeoutSeconds: strconv.ParseInt"),
        (format!("{MAPS}/..%2f..%2fsecrets"), 404, "could not find the requested resource"),
        ("/api/v1/namespaces/default/configmaps/%00".to_owned(), 404, ""),
        ("/api/v1/namespaces/default/configmaps/%ff%fe".to_owned(), 404, ""),
        ("/healthz/../api/v1/secrets".to_owned(), 200, ""),
    ];
    let server = start().await;
    let mut cases: Vec<Case<'_>> =
        paths.iter().map(|(path, code, words)| Case(Method::GET, path, JSON, Vec::new(), *code, words)).collect();
    cases.push(Case(Method::GET, &long, JSON, Vec::new(), 400, ""));
    let dry = format!("{MAPS}?dryRun=Perhaps");
    cases.push(Case(Method::POST, &dry, JSON, b"{\"metadata\":{\"name\":\"a\"}}".to_vec(), 422, "dryRun: Unsupported"));
    let grace = format!("{KEPT}?gracePeriodSeconds=never");
    cases.push(Case(Method::DELETE, &grace, JSON, Vec::new(), 400, "gracePeriodSeconds: strconv.ParseInt"));
    refuse(&server, cases).await;
}

/// Writes raw bytes over an administrator's connection; what comes back until the server closes or is silent.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = connect(server, As::Admin).await;
    // The server may have closed already, having seen enough.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut buffer)).await {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_whose_lengths_disagree_are_one_request_or_none() {
    let server = start().await;
    let before = server.api.store().revision();
    let hidden = format!("DELETE {KEPT} HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = format!("POST {MAPS}?dryRun=All HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n");
    for lengths in [
        format!("Content-Length: 4\r\nContent-Length: 2\r\n\r\n{{}}{hidden}"),
        format!("Content-Length: -1\r\n\r\n{hidden}"),
        format!("Content-Length: +2\r\n\r\n{{}}{hidden}"),
        format!("Content-Length: 99999999999999999999999\r\n\r\n{hidden}"),
        format!("Content-Length: 2, 4\r\n\r\n{{}}{hidden}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{hidden}"),
        format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n{hidden}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("Host: b\x00\r\n\r\n{hidden}"),
    ] {
        let answer = raw(&server, format!("{head}{lengths}").as_bytes()).await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{lengths:?}\n{answer}");
        assert_eq!(server.api.store().revision(), before, "{lengths:?}\n{answer}");
    }
    // Both: the chunks count, and what lies behind them is not hidden in them.
    let both = format!("{head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let answer = raw(&server, both.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    assert_eq!(get(&server, KEPT).await.0, 200);
}

#[tokio::test]
async fn heads_without_end_and_other_protocols_are_cut_off() {
    let server = start().await;
    let many: String = (0..5000).map(|n| format!("X-{n}: a\r\n")).collect();
    let start = format!("GET {MAPS} HTTP/1.1\r\nHost: a\r\n");
    for bytes in [
        format!("{start}X: {}\r\n\r\n", "a".repeat(1 << 20)),
        format!("{start}{many}\r\n"),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(300 << 10)),
        "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned() + &"\u{7f}".repeat(9000),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "G\u{0}T / HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        let answer = raw(&server, bytes.as_bytes()).await;
        let shown = &bytes[..bytes.len().min(60)];
        assert!(!answer.contains("HTTP/1.1 200"), "{shown}: {answer}");
    }
    // Half a head holds nothing but its own connection.
    let mut slow = connect(&server, As::Admin).await;
    slow.write_all(b"GET /api HTTP/1.1\r\nHost").await.unwrap();
    assert_eq!(get(&server, KEPT).await.0, 200);
}
