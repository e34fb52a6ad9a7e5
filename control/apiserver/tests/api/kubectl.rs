//! Unmodified kubectl against a real listener.

use crate::server::Server;
use control_api::resource::{NODES, PODS};
use control_apiserver::{DeleteOptions, Verb};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const VERSIONS: [&str; 4] = ["1.27", "1.30", "1.33", "newest"];

pub const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: nginx:1
        ports: [{containerPort: 80}]
"#;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: one}}
spec:
  containers:
  - {name: main, image: "busybox:1", command: [sleep, "1"]}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kubectl_applies_reads_changes_and_deletes() {
    for version in VERSIONS {
        let server = Server::start().await;
        server.write("web.yaml", DEPLOYMENT);
        assert_eq!(server.run(version, "apply -f web.yaml").await, "deployment.apps/web created\n");
        assert_eq!(server.run(version, "apply -f web.yaml").await, "deployment.apps/web unchanged\n");
        let table = server.run(version, "get deployments -o wide").await;
        assert!(table.contains("READY") && table.contains("nginx:1"), "{table}");
        assert!(server.run(version, "get deploy web -o yaml").await.contains("image: nginx:1"));
        assert_eq!(server.run(version, "get deploy web -o jsonpath={.spec.replicas}").await, "2");
        server.run(version, "scale deploy web --replicas=5").await;
        assert_eq!(server.run(version, "get deploy web -o jsonpath={.spec.replicas}").await, "5");
        server.run(version, "set image deploy/web main=nginx:2").await;
        server.run(version, "label deploy web tier=front").await;
        server.run(version, "annotate deploy web note=hello").await;
        assert!(server.run(version, "get deploy -l tier=front --no-headers").await.starts_with("web"));
        assert!(server.run(version, "describe deploy web").await.contains("nginx:2"));
        server.run(version, "create configmap conf --from-literal=a=b").await;
        server.run(version, "create secret generic sec --from-literal=a=b").await;
        server.run(version, "create namespace other").await;
        server.run(version, "create serviceaccount app -n default").await;
        assert_eq!(server.run(version, "get configmap conf -o jsonpath={.data.a}").await, "b");
        assert_eq!(server.run(version, "get secret sec -o jsonpath={.data.a}").await, "Yg==");
        server.run(version, "delete deploy web --cascade=background").await;
        assert!(server.fails(version, "get deploy web").await.contains("(NotFound)"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kubectl_finds_what_is_served() {
    for version in VERSIONS {
        let server = Server::start().await;
        let resources = server.run(version, "api-resources").await;
        for name in ["pods", "deployments", "leases", "configmaps"] {
            assert!(resources.contains(name), "{name} is not in {resources}");
        }
        assert!(server.run(version, "api-versions").await.contains("coordination.k8s.io/v1"));
        assert!(server.run(version, "version").await.contains("v1.35.0+bramble"));
        let explained = server.run(version, "explain deployment.spec.replicas").await;
        assert!(explained.contains("replicas <integer>"), "{explained}");
        assert_eq!(server.run(version, "get --raw /readyz").await, "ok");
        assert!(server.run(version, "get --raw /readyz?verbose").await.contains("readyz check passed"));
        assert!(server.run(version, "get --raw /metrics").await.contains("apiserver_request_total"));
        server.run(version, "get all,cm,secrets,events,nodes -A").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_kinds_of_patches_edit_replace_and_diff() {
    let version = "1.33";
    let server = Server::start().await;
    server.write("web.yaml", DEPLOYMENT);
    server.run(version, "apply -f web.yaml").await;
    server
        .run(
            version,
            r#"patch deploy web -p {"spec":{"template":{"spec":{"containers":[{"name":"side","image":"x:1"}]}}}}"#,
        )
        .await;
    let images = "get deploy web -o jsonpath={.spec.template.spec.containers[*].image}";
    let both = server.run(version, images).await;
    assert!(both.contains("x:1") && both.contains("nginx:1"), "{both}");
    server.run(version, r#"patch deploy web --type=merge -p {"metadata":{"labels":{"a":"b"}}}"#).await;
    server
        .run(version, r#"patch deploy web --type=json -p [{"op":"replace","path":"/spec/replicas","value":7}]"#)
        .await;
    server.run(version, r#"patch deploy web --subresource=scale --type=merge -p {"spec":{"replicas":3}}"#).await;
    assert_eq!(server.run(version, "get deploy web -o jsonpath={.spec.replicas}{.metadata.labels.a}").await, "3b");
    server.write("web2.yaml", &DEPLOYMENT.replace("nginx:1", "nginx:9"));
    let diff = server.output(version, "diff -f web2.yaml").await;
    assert_eq!(diff.status.code(), Some(1), "{}", String::from_utf8_lossy(&diff.stderr));
    assert!(String::from_utf8_lossy(&diff.stdout).contains("+      - image: nginx:9"));
    server.run(version, "replace -f web2.yaml").await;
    assert!(server.run(version, images).await.contains("nginx:9"));
    let refused = server.fails(version, "apply --server-side -f web.yaml").await;
    assert!(refused.contains("server-side apply is not supported"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_prints_what_happens() {
    let server = Server::start().await;
    server.run("1.33", "create configmap a").await;
    let mut watch = server
        .kubectl("1.33")
        .args(["get", "configmaps", "-w", "--no-headers", "--output-watch-events"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("ADDED      a"));
    server.run("1.33", "create configmap b").await;
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("ADDED      b"));
    server.run("1.33", "label configmap b x=y").await;
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("MODIFIED   b"));
    server.run("1.33", "delete configmap b").await;
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("DELETED    b"));
    watch.kill().await.unwrap();
}

async fn running_pod(server: &Server) {
    server.write("pod.yaml", POD);
    server.run("1.33", "apply -f pod.yaml").await;
    let binding = json!({"target": {"kind": "Node", "name": "node"}});
    server.call(Verb::Create(binding), &PODS, "default", "one", Some("binding")).await.unwrap();
    let mut pod: Value = serde_json::from_str(&server.run("1.33", "get pod one -o json").await).unwrap();
    pod["status"] = json!({
        "phase": "Running",
        "containerStatuses": [{
            "name": "main", "ready": true, "restartCount": 0, "image": "busybox:1", "imageID": "x",
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }],
    });
    server.call(Verb::Update(pod), &PODS, "default", "one", Some("status")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_and_exec_reach_the_node() {
    for version in VERSIONS {
        let server = Server::start().await;
        running_pod(&server).await;
        assert_eq!(server.run(version, "logs one --tail=3").await, "one/main on node, tail Some(3)\n");
        assert_eq!(server.run(version, "exec one -- echo hello").await, "echo hello");
        let failed = server.output(version, "exec one -- exit 42").await;
        assert_eq!(failed.status.code(), Some(42));
        let said = String::from_utf8_lossy(&failed.stderr);
        assert!(said.contains("failing"), "kubectl {version}: {said}");
        let mut cat = server
            .kubectl(version)
            .args(["exec", "-i", "one", "--", "cat"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = cat.stdin.take().unwrap();
        stdin.write_all(b"through and back").await.unwrap();
        drop(stdin);
        let output = cat.wait_with_output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "through and back");
        assert!(output.status.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_go_with_grace_and_drain_evicts() {
    let server = Server::start().await;
    running_pod(&server).await;
    assert!(server.run("1.33", "get pods -o wide").await.contains("Running"));
    server.run("1.33", "delete pod one --wait=false").await;
    assert!(server.run("1.33", "get pods").await.contains("Terminating"));
    let waiting = server.kubectl("1.33").args(["wait", "--for=delete", "pod/one", "--timeout=20s"]).spawn().unwrap();
    server.run("1.33", "delete pod one --grace-period=0 --force").await;
    assert!(waiting.wait_with_output().await.unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_cordoned_tainted_and_drained() {
    let server = Server::start().await;
    let node = json!({"metadata": {"name": "node"}, "spec": {"podCIDR": "10.42.0.0/24"}});
    server.create(&NODES, "", node).await;
    running_pod(&server).await;
    assert!(server.run("1.33", "cordon node").await.contains("node/node cordoned"));
    assert!(server.run("1.33", "get nodes").await.contains("SchedulingDisabled"));
    assert!(server.run("1.33", "taint node node a=b:NoSchedule").await.contains("node/node tainted"));
    let drain = server.kubectl("1.33").args(["drain", "node", "--force", "--timeout=20s"]).spawn().unwrap();
    let leaving =
        server.run("1.33", "wait --for=jsonpath={.metadata.deletionGracePeriodSeconds}=30 pod/one --timeout=20s");
    assert!(leaving.await.contains("condition met"));
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    server.call(Verb::Delete(now), &PODS, "default", "one", None).await.unwrap();
    assert!(drain.wait_with_output().await.unwrap().status.success());
    assert!(server.run("1.33", "uncordon node").await.contains("node/node uncordoned"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_when_its_finalizers_do() {
    let server = Server::start().await;
    server.run("1.33", "create namespace gone").await;
    server.run("1.33", "delete namespace gone --wait=false").await;
    assert!(server.run("1.33", "get namespace gone").await.contains("Terminating"));
    let refused = server.fails("1.33", "create configmap late -n gone").await;
    assert!(refused.contains("because it is being terminated"), "{refused}");
    let mut namespace: Value = serde_json::from_str(&server.run("1.33", "get namespace gone -o json").await).unwrap();
    namespace["spec"]["finalizers"] = json!([]);
    server.write("finalize.json", &namespace.to_string());
    server.run("1.33", "replace --raw /api/v1/namespaces/gone/finalize -f finalize.json").await;
    assert!(server.fails("1.33", "get namespace gone").await.contains("(NotFound)"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_in_kubernetes_words() {
    let version = "1.33";
    let server = Server::start().await;
    let says = async |line: &str, words: &str| {
        let error = server.fails(version, line).await;
        assert!(error.contains(words), "kubectl {line}: {error}");
    };
    server.write("typo.yaml", &DEPLOYMENT.replace("replicas", "replicsa"));
    says("create -f typo.yaml", "unknown field \"spec.replicsa\"").await;
    server.write("bad.yaml", &POD.replace("name: one", "name: ONE"));
    says("create -f bad.yaml", "Pod \"ONE\" is invalid: metadata.name: Invalid value: \"ONE\"").await;
    says("create configmap a -n nowhere", "namespaces \"nowhere\" not found").await;
    says("delete namespace default", "namespaces \"default\" is forbidden: this namespace may not be deleted").await;
    server.run(version, "create configmap twice").await;
    says("create configmap twice", "configmaps \"twice\" already exists").await;
    server.write("stale.json", r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"twice","namespace":"default","resourceVersion":"1"}}"#);
    says("replace -f stale.json", "the object has been modified").await;
    server.write("ghost.yaml", &format!("{POD}  serviceAccountName: ghost\n"));
    says("create -f ghost.yaml", "error looking up service account default/ghost: serviceaccount \"ghost\" not found")
        .await;
    says("get widgets", "the server doesn't have a resource type \"widgets\"").await;
    server.write("big.txt", &"x".repeat(4 << 20));
    says("create configmap big --from-file=big.txt", "limit is").await;
}
