//! More of kubectl's commands against a real listener: those that look harmless and are made of several requests.

use crate::kubectl::DEPLOYMENT;
use crate::server::Server;
use control_api::resource::{EVENTS, PODS};
use control_apiserver::Verb;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const VERSION: &str = "1.33";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edit_sends_what_the_editor_changed() {
    let server = Server::start().await;
    server.run(VERSION, "create configmap conf --from-literal=color=red").await;
    let mut edit = server.kubectl(VERSION);
    edit.env("KUBE_EDITOR", "sed -i s/red/blue/").args(["edit", "configmap", "conf"]);
    let output = edit.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.run(VERSION, "get configmap conf -o jsonpath={.data.color}").await, "blue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_on_the_server_leaves_nothing() {
    let server = Server::start().await;
    server.write("web.yaml", DEPLOYMENT);
    let said = server.run(VERSION, "create -f web.yaml --dry-run=server -o yaml").await;
    assert!(said.contains("strategy:") && !said.contains("resourceVersion"), "{said}");
    assert!(server.fails(VERSION, "get deploy web").await.contains("(NotFound)"));
    server.run(VERSION, "create -f web.yaml").await;
    server.run(VERSION, "delete deploy web --dry-run=server").await;
    server.run(VERSION, "get deploy web").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollouts_are_restarted_paused_and_resumed() {
    let server = Server::start().await;
    server.write("web.yaml", DEPLOYMENT);
    server.run(VERSION, "create -f web.yaml").await;
    server.run(VERSION, "rollout restart deploy/web").await;
    let annotated = server.run(VERSION, "get deploy web -o jsonpath={.spec.template.metadata.annotations}").await;
    assert!(annotated.contains("kubectl.kubernetes.io/restartedAt"), "{annotated}");
    server.run(VERSION, "rollout pause deploy/web").await;
    assert_eq!(server.run(VERSION, "get deploy web -o jsonpath={.spec.paused}").await, "true");
    server.run(VERSION, "rollout resume deploy/web").await;
    assert_eq!(server.run(VERSION, "get deploy web -o jsonpath={.spec.paused}").await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_listed_in_words() {
    let server = Server::start().await;
    let event = json!({
        "metadata": {"name": "web.1"}, "reason": "Pulled", "message": "Image is there", "type": "Normal",
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"},
        "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
    });
    server.create(&EVENTS, "default", event).await;
    let said = server.run(VERSION, "events").await;
    assert!(said.contains("Pulled") && said.contains("Image is there"), "{said}");
    assert!(server.run(VERSION, "get events --field-selector=reason=Pulled").await.contains("pod/web"));
    let none = server.run(VERSION, "get events --field-selector=type=Warning --no-headers").await;
    assert_eq!(none, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kubectl_can_exec_over_a_websocket_and_over_spdy() {
    let server = Server::start().await;
    let pod = json!({"metadata": {"name": "one"}, "spec": {"containers": [{"name": "main", "image": "x:1"}]}});
    server.create(&PODS, "default", pod).await;
    let binding = json!({"target": {"kind": "Node", "name": "node"}});
    server.call(Verb::Create(binding), &PODS, "default", "one", Some("binding")).await.unwrap();
    for (websockets, version) in
        [("true", "1.30"), ("false", "1.30"), ("", "1.27"), ("", "newest"), ("false", "newest")]
    {
        let mut exec = server.kubectl(version);
        exec.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets).args(["exec", "one", "--", "echo", "hello"]);
        let output = exec.output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "echo hello", "{version}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_is_forwarded_over_spdy_and_through_a_websocket() {
    let server = Server::start().await;
    let pod = json!({"metadata": {"name": "one"}, "spec": {"containers": [{"name": "main", "image": "x:1"}]}});
    server.create(&PODS, "default", pod).await;
    let binding = json!({"target": {"kind": "Node", "name": "node"}});
    server.call(Verb::Create(binding), &PODS, "default", "one", Some("binding")).await.unwrap();
    let running = json!({"metadata": {"name": "one"}, "status": {"phase": "Running"}});
    server.call(Verb::Update(running), &PODS, "default", "one", Some("status")).await.unwrap();
    for (websockets, version) in [("true", "1.30"), ("", "newest"), ("false", "newest"), ("", "1.27")] {
        let mut forward = server.kubectl(version);
        forward.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets).args(["port-forward", "pod/one", ":80"]);
        let mut forward = forward.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // It says every connection there too, and would end where nobody hears.
        let mut out = BufReader::new(forward.stdout.take().unwrap());
        out.read_line(&mut line).await.unwrap();
        let port: u16 = line.split(':').nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        connection.write_all(b"there and back").await.unwrap();
        connection.shutdown().await.unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "there and back");
        forward.kill().await.unwrap();
    }
}
