//! Probes and hooks against servers as pods run them: HTTP, HTTPS, TCP and gRPC on loopback.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent_pods::machine::Outcome;
use agent_pods::ports::{
    BoxFuture, ContainerSpec, Exec, ExecEnd, PortError, PortResult, Runtime, SandboxSpec, StartError, UserNamespace,
};
use agent_pods::prober::Target;
use bytes::Bytes;
use control_api::view::core::{Container, LifecycleHandler, Probe};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A runtime that only answers commands.
struct Commands(PortResult<ExecEnd>, Mutex<Vec<Exec>>);

impl Runtime for Commands {
    fn create_sandbox(&self, _: SandboxSpec) -> BoxFuture<'_, PortResult<Option<PathBuf>>> {
        unreachable!("no probe asks for it")
    }
    fn user_namespace(&self, _: &str) -> BoxFuture<'_, PortResult<Option<UserNamespace>>> {
        unreachable!("no probe asks for it")
    }
    fn create_container(&self, _: &str, _: ContainerSpec) -> BoxFuture<'_, Result<(), StartError>> {
        unreachable!("no probe asks for it")
    }
    fn start_container(&self, _: &str, _: &str) -> BoxFuture<'_, Result<(), StartError>> {
        unreachable!("no probe asks for it")
    }
    fn signal(&self, _: &str, _: &str, _: i32) -> BoxFuture<'_, PortResult<()>> {
        unreachable!("no probe asks for it")
    }
    fn exec(&self, _: &str, _: &str, exec: Exec) -> BoxFuture<'_, PortResult<ExecEnd>> {
        self.1.lock().unwrap().push(exec);
        Box::pin(async { self.0.clone() })
    }
    fn remove_container(&self, _: &str, _: &str) -> BoxFuture<'_, PortResult<()>> {
        unreachable!("no probe asks for it")
    }
    fn remove_sandbox(&self, _: &str) -> BoxFuture<'_, PortResult<()>> {
        unreachable!("no probe asks for it")
    }
}

fn commands(end: PortResult<ExecEnd>) -> Commands {
    Commands(end, Mutex::default())
}

fn nothing() -> Commands {
    commands(Err(PortError::new("no runtime here")))
}

fn container(ports: Value) -> Container {
    serde_json::from_value(json!({"name": "a", "ports": ports})).unwrap()
}

fn target<'a>(runtime: &'a Commands, container: &'a Container) -> Target<'a> {
    Target { runtime, uid: "u", container_id: "c", container, pod_ip: "127.0.0.1" }
}

/// With time for an answer, where the probe itself does not say how much.
async fn probe(mut probe: Value) -> Outcome {
    if probe["timeoutSeconds"].is_null() {
        probe["timeoutSeconds"] = json!(30);
    }
    let probe: Probe = serde_json::from_value(probe).unwrap();
    target(&nothing(), &container(json!([]))).probe(&probe).await
}

async fn get(port: u16, path: &str) -> Outcome {
    probe(json!({"httpGet": {"port": port, "path": path}})).await
}

fn failure(text: impl Into<String>) -> Outcome {
    Outcome::Failure(text.into())
}

/// A port that nobody listens on, nor can while it is held.
fn closed_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A listener that takes connections and says nothing.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

type Heads = Arc<Mutex<Vec<Request<()>>>>;

/// `/STATUS` is answered by that status, `/to?WHERE` by a redirect, `/big` by more than anyone reads.
async fn http_answer(seen: Heads, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let (parts, _) = request.into_parts();
    seen.lock().unwrap().push(Request::from_parts(parts, ()));
    let response = Response::builder();
    Ok(match path.as_str() {
        "/to" => response.status(302).header("location", query).body(Full::from("moved")),
        "/round" => response.status(301).header("location", "/round").body(Full::default()),
        "/big" => response.body(Full::from(vec![b'x'; 8 << 20])),
        path => response.status(path.trim_start_matches('/').parse().unwrap_or(200_u16)).body(Full::from("body")),
    }
    .unwrap())
}

async fn http_server() -> (u16, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Heads::default();
    let heads = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve_http(TokioIo::new(stream), heads.clone());
        }
    });
    (port, seen)
}

fn serve_http<S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static>(stream: S, heads: Heads) {
    let service = service_fn(move |request| http_answer(heads.clone(), request));
    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
}

#[tokio::test]
async fn statuses_from_200_to_399_are_good() {
    let (port, _) = http_server().await;
    for path in ["/200", "/204", "/299", "/big", "", "no-slash"] {
        assert_eq!(get(port, path).await, Outcome::Success, "{path}");
    }
    for code in [400, 404, 500, 503] {
        let expected = failure(format!("HTTP probe failed with statuscode: {code}"));
        assert_eq!(get(port, &format!("/{code}")).await, expected);
    }
    assert!(matches!(get(port, "/304").await, Outcome::Warning(_)));
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_alone() {
    let (port, seen) = http_server().await;
    let (other, _) = http_server().await;
    assert_eq!(get(port, "/to?/500").await, failure("HTTP probe failed with statuscode: 500"));
    assert_eq!(get(port, "/to?ok").await, Outcome::Success);
    assert_eq!(seen.lock().unwrap().last().unwrap().uri().path(), "/ok");
    let elsewhere = format!("/to?http://127.0.0.1:{other}/503");
    assert_eq!(get(port, &elsewhere).await, failure("HTTP probe failed with statuscode: 503"), "only the port differs");
    let warning = "Probe terminated redirects, Response body: moved".to_owned();
    assert_eq!(get(port, "/to?http://example.invalid/500").await, Outcome::Warning(warning));
    let round = get(port, "/round").await;
    assert_eq!(round, failure(format!("Get \"http://127.0.0.1:{port}/round\": stopped after 10 redirects")));
}

#[tokio::test]
async fn a_request_is_the_kubelets_with_the_users_headers() {
    let (port, seen) = http_server().await;
    get(port, "/a b?c=d#e").await;
    let named = json!({"httpGet": {"port": "web", "httpHeaders": [
        {"name": "Host", "value": "example.com"}, {"name": "X-Twice", "value": "1"}, {"name": "X-Twice", "value": "2"},
        {"name": "User-Agent", "value": "mine"}, {"name": "Accept", "value": ""}]}});
    let probe: Probe = serde_json::from_value(named).unwrap();
    let ports = container(json!([{"name": "web", "containerPort": port}]));
    assert_eq!(target(&nothing(), &ports).probe(&probe).await, Outcome::Success);
    let seen = seen.lock().unwrap();
    let text = |at: usize, name: &str| {
        seen[at].headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>().join(",")
    };
    assert_eq!(seen[0].uri(), "/a%20b?c=d");
    assert_eq!((text(0, "host"), text(0, "user-agent")), (format!("127.0.0.1:{port}"), "kube-probe/1.35".to_owned()));
    assert_eq!((text(0, "accept"), text(0, "connection")), ("*/*".to_owned(), "close".to_owned()));
    assert_eq!((text(1, "host"), text(1, "user-agent")), ("example.com".to_owned(), "mine".to_owned()));
    assert_eq!((text(1, "x-twice"), text(1, "accept")), ("1,2".to_owned(), String::new()));
}

#[tokio::test]
async fn what_does_not_answer_fails_in_gos_words() {
    let (_held, port) = closed_port();
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(get(port, "/x").await, failure(format!("Get \"http://127.0.0.1:{port}/x\": {refused}")));
    assert_eq!(probe(json!({"tcpSocket": {"port": port}})).await, failure(refused));
    let silent = silent().await.port();
    assert_eq!(probe(json!({"tcpSocket": {"port": silent}})).await, Outcome::Success);
    let begun = Instant::now();
    let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    let asked = probe(json!({"httpGet": {"port": silent, "path": "/"}, "timeoutSeconds": 1})).await;
    assert_eq!(asked, failure(format!("Get \"http://127.0.0.1:{silent}/\": {late}")));
    assert!((900..25_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    let wrong = probe(json!({"tcpSocket": {"port": "web"}})).await;
    assert_eq!(wrong, Outcome::Error("strconv.Atoi: parsing \"web\": invalid syntax".to_owned()));
}

#[tokio::test]
async fn a_server_that_breaks_off_or_talks_nonsense_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", "SSH-2.0-nonsense\r\n\r\n"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    assert_eq!(get(port, "/").await, failure(format!("Get \"http://127.0.0.1:{port}/\": EOF")));
    for _ in 0..2 {
        assert!(matches!(get(port, "/").await, Outcome::Failure(_)));
    }
}

#[tokio::test]
async fn any_certificate_will_do() {
    let made = rcgen::generate_simple_self_signed(vec!["nobody.example".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_http(TokioIo::new(stream), Heads::default());
            }
        }
    });
    let https = |path: &str| probe(json!({"httpGet": {"port": port, "path": path, "scheme": "HTTPS"}}));
    assert_eq!(https("/200").await, Outcome::Success);
    assert_eq!(https("/500").await, failure("HTTP probe failed with statuscode: 500"));
    assert!(matches!(get(port, "/").await, Outcome::Failure(_)), "plain HTTP to a TLS port");
    let (plain, _) = http_server().await;
    let wrong = probe(json!({"httpGet": {"port": plain, "scheme": "HTTPS"}})).await;
    assert!(matches!(wrong, Outcome::Failure(_)), "{wrong:?}");
}

/// A health server: the service `up` serves, `down` does not, `late` never answers, others are not known.
async fn health(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let service = if body.len() > 7 { String::from_utf8(body[7..].to_vec()).unwrap() } else { String::new() };
    if service == "late" {
        std::future::pending::<()>().await;
    }
    let (status, message, answer) = match service.as_str() {
        "" | "up" => ("0", "", Some(1)),
        "down" => ("0", "", Some(2)),
        "none" => ("12", "unknown service grpc.health.v1.Health", None),
        _ => ("5", "unknown service", None),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    if !message.is_empty() {
        trailers.insert("grpc-message", message.parse().unwrap());
    }
    let data = answer.map(|value| Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, value])));
    let frames = data.into_iter().chain([Frame::trailers(trailers)]).map(Ok::<_, Infallible>);
    let body = StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>()));
    let body = BodyExt::boxed(body);
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

#[tokio::test]
async fn a_grpc_health_service_is_asked_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(http2.serve_connection(TokioIo::new(stream), service_fn(health)));
        }
    });
    let check = |service: &str| probe(json!({"grpc": {"port": port, "service": service}}));
    assert_eq!(check("").await, Outcome::Success);
    assert_eq!(check("up").await, Outcome::Success);
    assert_eq!(check("down").await, failure("service unhealthy (responded with \"NOT_SERVING\")"));
    let unknown = "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service";
    assert_eq!(check("other").await, failure(unknown));
    let none = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service grpc.health.v1.Health";
    assert_eq!(check("none").await, failure(none));
    let late = probe(json!({"grpc": {"port": port, "service": "late"}, "timeoutSeconds": 1})).await;
    assert_eq!(late, failure("timeout: health rpc did not complete within 1s"));
    let (_held, closed) = closed_port();
    let refused = probe(json!({"grpc": {"port": closed}})).await;
    assert!(matches!(&refused, Outcome::Failure(text) if text.contains("connection refused")), "{refused:?}");
    let (plain, _) = http_server().await;
    assert!(matches!(probe(json!({"grpc": {"port": plain}})).await, Outcome::Failure(_)), "HTTP/1.1 is no gRPC");
}

#[tokio::test]
async fn a_command_is_judged_by_its_exit_code() {
    let exec = |end: PortResult<ExecEnd>| async {
        let runtime = commands(end);
        let probe = json!({"exec": {"command": ["cat", "/x"]}, "timeoutSeconds": 70});
        let outcome = target(&runtime, &container(json!([]))).probe(&serde_json::from_value(probe).unwrap()).await;
        let asked = runtime.1.lock().unwrap()[0].clone();
        assert_eq!((asked.command.len(), asked.timeout), (2, Some(Duration::from_secs(70))));
        outcome
    };
    assert_eq!(exec(Ok(ExecEnd::Exited { code: 0, output: vec![] })).await, Outcome::Success);
    assert_eq!(exec(Ok(ExecEnd::Exited { code: 1, output: b"no".to_vec() })).await, failure("no"));
    let late = "command timed out: \"cat /x\" timed out after 1m10s";
    assert_eq!(exec(Ok(ExecEnd::TimedOut)).await, failure(late));
    assert_eq!(exec(Err(PortError::new("gone"))).await, Outcome::Error("gone".to_owned()));
}

#[tokio::test]
async fn hooks_run_to_their_end_within_their_limit() {
    let hook = |runtime: Commands, handler: Value, limit: Option<u64>| async move {
        let handler: LifecycleHandler = serde_json::from_value(handler).unwrap();
        target(&runtime, &container(json!([]))).hook(&handler, limit.map(Duration::from_millis)).await
    };
    let exited = |code| commands(Ok(ExecEnd::Exited { code, output: b"a secret".to_vec() }));
    let exec = json!({"exec": {"command": ["x"]}});
    assert_eq!(hook(exited(0), exec.clone(), None).await, Ok(()));
    assert_eq!(hook(exited(3), exec, None).await, Err("the command exited with 3".to_owned()));
    let (port, seen) = http_server().await;
    let get = json!({"httpGet": {"port": port, "path": "/500"}});
    assert_eq!(hook(nothing(), get, None).await, Ok(()), "an answer is enough");
    assert_eq!(seen.lock().unwrap()[0].headers()["user-agent"], "kube-lifecycle/1.35");
    let silent = json!({"httpGet": {"port": silent().await.port()}});
    assert!(hook(nothing(), silent, Some(100)).await.is_err());
    let begun = Instant::now();
    assert_eq!(hook(nothing(), json!({"sleep": {"seconds": 60}}), Some(100)).await, Ok(()));
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(hook(nothing(), json!({"tcpSocket": {"port": 1}}), None).await.is_err());
}

#[tokio::test]
async fn a_probe_leaves_no_connection_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let probing = tokio::spawn(probe(json!({"httpGet": {"port": port, "path": "/"}, "timeoutSeconds": 1})));
    let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
    probing.await.unwrap();
    let mut all = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut all)).await;
    assert!(ended.is_ok(), "the connection is closed once the probe has given up");
}
