//! Nodes of several platforms, and images that are for some of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use control_api::image::{Platform, PlatformsAnswer, PlatformsRequest};
use control_api::resource::{NODES, PODS, SECRETS};
use control_api::stream::{ExecRequest, LogRequest};
use control_api::{Reason, Status};
use control_apiserver::node::BoxFuture;
use control_apiserver::{ExecStreams, NodeStreams};
use control_client::{Api, Key, Patch};
use control_scheduler::platforms::{Answer, Lookup, Platforms};
use control_store::MemoryStore;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{Running, node, node_value, pod};

/// What nodes would be told by a registry, by the image's full name; silence is a registry that is out of reach.
#[derive(Default)]
struct Registry {
    images: Mutex<HashMap<String, PlatformsAnswer>>,
    asked: Mutex<Vec<(String, PlatformsRequest)>>,
}

impl Registry {
    fn has(&self, image: &str, platforms: &[Platform]) {
        self.says(image, PlatformsAnswer::Known(platforms.to_vec()));
    }

    fn says(&self, image: &str, answer: PlatformsAnswer) {
        self.images.lock().expect("a lock").insert(image.to_owned(), answer);
    }

    fn asked(&self) -> Vec<(String, PlatformsRequest)> {
        self.asked.lock().expect("a lock").clone()
    }
}

impl NodeStreams for Registry {
    fn platforms(&self, node: &str, request: PlatformsRequest) -> BoxFuture<'_, Result<PlatformsAnswer, Status>> {
        let known = self.images.lock().expect("a lock").get(&request.image).cloned();
        self.asked.lock().expect("a lock").push((node.to_owned(), request));
        let silence = PlatformsAnswer::Unreachable { message: "connection refused".to_owned() };
        Box::pin(async move { Ok(known.unwrap_or(silence)) })
    }

    fn logs(&self, _: &str, _: LogRequest) -> BoxFuture<'_, Result<mpsc::Receiver<Bytes>, Status>> {
        Box::pin(async { Err(Status::new(Reason::ServiceUnavailable, "no logs")) })
    }

    fn exec(&self, _: &str, _: ExecRequest) -> BoxFuture<'_, Result<ExecStreams, Status>> {
        Box::pin(async { Err(Status::new(Reason::ServiceUnavailable, "no exec")) })
    }
}

fn amd64() -> Platform {
    Platform::new("amd64", None)
}

fn arm64() -> Platform {
    Platform::new("arm64", Some("v8"))
}

fn armv6() -> Platform {
    Platform::new("arm", Some("v6"))
}

async fn running() -> (Running, Arc<Registry>) {
    let api = Api::new(Arc::new(MemoryStore::default()));
    let registry = Arc::new(Registry::default());
    api.connect_nodes(registry.clone());
    (Running::over(api).await, registry)
}

fn of(architecture: &str, name: &str) -> Value {
    let mut value = node_value(name, "4", "8Gi");
    value["status"]["nodeInfo"] = json!({
        "architecture": architecture, "operatingSystem": "linux", "bootID": "", "containerRuntimeVersion": "",
        "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "osImage": "", "systemUUID": "",
    });
    value
}

fn image(name: &str) -> Value {
    json!({"containers": [{"name": "main", "image": name}]})
}

impl Running {
    async fn add_machine(&self, architecture: &str, name: &str) {
        let value = of(architecture, name);
        self.client.create(&NODES, "", value.clone()).await.expect("is created");
        let status = Patch::Merge(json!({"status": value["status"]}));
        self.client.patch(&NODES, "", name, Some("status"), status).await.expect("status is taken");
        self.knows(name).await;
    }

    async fn goes_to(&self, pod: &str, node: &str) {
        let what = format!("{pod} goes to {node}");
        self.until(&what, || !self.pod(pod)["spec"]["nodeName"].is_null()).await;
        assert_eq!(self.pod(pod)["spec"]["nodeName"], node);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_goes_only_where_its_image_runs_and_is_told_why_not_elsewhere() {
    let (running, registry) = running().await;
    for (architecture, name) in [("amd64", "x86"), ("arm64", "pi-4"), ("arm", "pi-2")] {
        running.add_machine(architecture, name).await;
    }
    registry.has("docker.io/library/old:1", &[armv6()]);
    registry.has("docker.io/library/new:1", &[arm64()]);
    registry.has("docker.io/library/pc:1", &[amd64()]);
    running.add_pod("old", image("old:1")).await;
    running.add_pod("new", image("new:1")).await;
    running.goes_to("old", "pi-2").await;
    running.goes_to("new", "pi-4").await;
    // Every image counts, init containers' too.
    let mut both = image("pc:1");
    both["initContainers"] = json!([{"name": "init", "image": "new:1"}]);
    running.add_pod("both", both).await;
    let told = "0/3 nodes are available: \
                1 node(s) do not run a platform of image \"pc:1\" (linux/amd64), \
                2 node(s) do not run a platform of image \"new:1\" (linux/arm64/v8).";
    running.is_told(told).await;
    // One that a daemon's pod would be tied to, beside a taint.
    let taints = json!([{"key": "x", "value": "y", "effect": "NoSchedule"}]);
    running
        .client
        .patch(&NODES, "", "x86", None, Patch::Merge(json!({"spec": {"taints": taints}})))
        .await
        .expect("taken");
    running.add_pod("pc", image("pc:1")).await;
    let told = "0/3 nodes are available: 1 node(s) had untolerated taint {x: y}, \
                2 node(s) do not run a platform of image \"pc:1\" (linux/amd64).";
    running.is_told(told).await;
    // An image's name may be changed while the pod waits.
    let patch = json!({"spec": {"containers": [{"name": "main", "image": "old:1"}]}});
    running.client.patch(&PODS, "default", "pc", None, Patch::Strategic(patch)).await.expect("is patched");
    running.goes_to("pc", "pi-2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_one_platform_cost_no_question() {
    let (running, registry) = running().await;
    running.add_machine("arm64", "pi-1").await;
    running.add_machine("arm64", "pi-2").await;
    running.add_pod("p", image("only-for-pcs:1")).await;
    running.until("it is bound", || !running.pod("p")["spec"]["nodeName"].is_null()).await;
    assert!(registry.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_registry_does_not_have_goes_to_a_node_and_what_never_is_pulled_costs_no_question() {
    let (running, registry) = running().await;
    running.add_machine("amd64", "x86").await;
    running.add_machine("arm64", "pi-1").await;
    registry.says("docker.io/library/none:1", PlatformsAnswer::Unknowable { message: "not found".to_owned() });
    running.add_pod("p", image("none:1")).await;
    running.until("it is bound", || !running.pod("p")["spec"]["nodeName"].is_null()).await;
    let mut never = image("by-hand:1");
    never["containers"][0]["imagePullPolicy"] = json!("Never");
    running.add_pod("q", never).await;
    running.until("it is bound", || !running.pod("q")["spec"]["nodeName"].is_null()).await;
    assert_eq!(registry.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_registry_is_out_of_reach_only_nodes_that_hold_the_image_get_the_pod() {
    let (running, registry) = running().await;
    running.add_machine("amd64", "x86").await;
    running.add_machine("arm64", "pi-1").await;
    running.add_pod("p", image("app:1")).await;
    let told = "0/2 nodes are available: \
                2 node(s) may not run image \"app:1\", whose platforms are not known: connection refused.";
    running.is_told(told).await;
    let images = json!({"status": {"images": [{"names": ["docker.io/library/app:1"], "sizeBytes": 1}]}});
    running.client.patch(&NODES, "", "pi-1", Some("status"), Patch::Merge(images)).await.expect("is taken");
    running.goes_to("p", "pi-1").await;
    // It is asked again, and comes back.
    running.add_pod("q", image("other:1")).await;
    running.is_told(&told.replace("app:1", "other:1")).await;
    registry.has("docker.io/library/other:1", &[amd64()]);
    running.goes_to("q", "x86").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_pull_secrets_are_shown_only_to_nodes_that_it_may_come_to() {
    let (running, registry) = running().await;
    running.add_machine("amd64", "x86").await;
    running.add_machine("arm64", "pi-1").await;
    let data = json!({".dockerconfigjson": "e30="});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "type": "kubernetes.io/dockerconfigjson",
        "data": data,
    });
    running.client.create(&SECRETS, "default", secret).await.expect("is created");
    registry.has("registry.example/app:1", &[amd64(), arm64()]);
    let mut spec = image("registry.example/app:1");
    spec["imagePullSecrets"] = json!([{"name": "key"}, {"name": "missing"}]);
    spec["nodeSelector"] = json!({"kubernetes.io/hostname": "pi-1"});
    running.add_pod("p", spec.clone()).await;
    running.goes_to("p", "pi-1").await;
    // Known by now.
    running.add_pod("q", spec).await;
    running.goes_to("q", "pi-1").await;
    let request = PlatformsRequest { image: "registry.example/app:1".to_owned(), secrets: vec![b"{}".to_vec()] };
    assert_eq!(registry.asked(), [("pi-1".to_owned(), request)]);
}

fn lookup(image: &str) -> Lookup {
    Lookup { image: image.to_owned(), secrets: Vec::new() }
}

fn key(name: &str) -> Key {
    Key::new(&PODS, "default", name)
}

#[test]
fn an_image_is_asked_for_once_for_all_pods_that_wait_and_few_at_a_time() {
    let mut platforms = Platforms::default();
    let now = Instant::now();
    let nodes = ["a".to_owned(), "b".to_owned()];
    for number in 0..20 {
        platforms.want(&lookup(&format!("i{number}")), key("p"), &nodes);
    }
    platforms.want(&lookup("i0"), key("q"), &nodes);
    let questions: Vec<_> = std::iter::from_fn(|| platforms.take_question()).collect();
    assert_eq!(questions.len(), 8);
    let mut woken = platforms.answer(lookup("i0"), Answer::Unknowable, now);
    woken.sort();
    assert_eq!(woken, [key("p"), key("q")]);
    assert_eq!(platforms.take_question().map(|question| question.lookup), Some(lookup("i8")));
    assert_eq!(platforms.take_question(), None);
}

#[test]
fn tags_are_asked_for_again_digests_never_and_failures_later_each_time_at_another_node() {
    let mut platforms = Platforms::default();
    let now = Instant::now();
    let nodes = ["a".to_owned(), "b".to_owned()];
    let mut ask = |image: &str, answer: Answer, now: Instant| {
        platforms.want(&lookup(image), key("p"), &nodes);
        let asked = platforms.take_question().expect("a question").nodes;
        platforms.answer(lookup(image), answer, now);
        let open = |seconds| platforms.is_open(&lookup(image), now + Duration::from_secs(seconds));
        (asked[0].clone(), [1, 2, 30, 300].map(open))
    };
    assert_eq!(ask("a:1", Answer::Platforms(vec![amd64()]), now).1, [false, false, false, true]);
    assert_eq!(ask("a@sha256:1", Answer::Platforms(vec![amd64()]), now).1, [false; 4]);
    assert_eq!(ask("b:1", Answer::Unknowable, now).1, [false, false, true, true]);
    let none = || Answer::None("why".to_owned());
    assert_eq!(ask("c:1", none(), now), ("a".to_owned(), [true; 4]));
    assert_eq!(ask("c:1", none(), now), ("b".to_owned(), [false, true, true, true]));
    assert_eq!(ask("c:1", none(), now), ("a".to_owned(), [false, false, true, true]));
}

#[test]
fn nodes_that_do_not_say_what_they_are_are_not_judged() {
    let mut platforms = Platforms::default();
    platforms.want(&lookup("docker.io/library/a:1"), key("p"), &[]);
    platforms.answer(lookup("docker.io/library/a:1"), Answer::Platforms(vec![amd64()]), Instant::now());
    let pod = pod("p", image("a:1"));
    let refusal = |value: &Value| platforms.refusal(&pod.images[0], &lookup(&pod.images[0].name), &node(value));
    assert_eq!(refusal(&node_value("n", "1", "1Gi")), None);
    assert_eq!(refusal(&of("amd64", "n")), None);
    let refused = refusal(&of("riscv64", "n")).expect("is refused").to_string();
    assert_eq!(refused, "node(s) do not run a platform of image \"a:1\" (linux/amd64)");
}
