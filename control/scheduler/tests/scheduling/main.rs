//! Decisions as a table, and the loop over the real pipeline and the store's twin.

use std::sync::Arc;
use std::time::{Duration, Instant};

use control_api::Meta;
use control_api::resource::{
    EVENTS, NAMESPACES, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, SERVICE_ACCOUNTS, STORAGE_CLASSES,
};
use control_client::{Api, Client, Feed, Key, Object, Patch, Resource, User};
use control_scheduler::cache::Cache;
use control_scheduler::node::NodeInfo;
use control_scheduler::pick::pick;
use control_scheduler::pod::PodInfo;
use control_store::MemoryStore;
use serde_json::{Value, json};
use tokio::sync::watch;

mod platforms;

const PATIENCE: Duration = Duration::from_secs(60);

fn object(resource: &'static Resource, value: &Value) -> Object {
    let json = value.to_string().into_bytes();
    let meta = Meta::parse(&json).expect("has metadata");
    Object { key: Key::new(resource, &meta.namespace, &meta.name), revision: 1, json: json.into(), meta }
}

fn node_value(name: &str, cpu: &str, memory: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn pod_value(name: &str, spec: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"containers": [{"name": "main", "image": "a"}]},
    });
    for (field, value) in spec.as_object().expect("a spec") {
        pod["spec"][field] = value.clone();
    }
    pod
}

fn asking(cpu: &str, memory: &str) -> Value {
    let requests = json!({"requests": {"cpu": cpu, "memory": memory}});
    json!({"containers": [{"name": "main", "image": "a", "resources": requests}]})
}

fn node(value: &Value) -> NodeInfo {
    NodeInfo::read(&object(&NODES, value)).expect("a node")
}

fn pod(name: &str, spec: Value) -> PodInfo {
    PodInfo::read(&object(&PODS, &pod_value(name, spec))).expect("a pod")
}

/// Two nodes, changed by `change`, and where the pod goes.
fn choose(change: impl Fn(&mut Value, &mut Value), spec: Value) -> Result<String, String> {
    let (mut a, mut b) = (node_value("a", "4", "8Gi"), node_value("b", "4", "8Gi"));
    change(&mut a, &mut b);
    let nodes = [node(&a), node(&b)];
    pick(&pod("p", spec), &nodes).map(|at| nodes[at].name.clone()).map_err(|error| error.message)
}

#[test]
fn a_pod_goes_where_its_conditions_hold() {
    let plain = |_: &mut Value, _: &mut Value| {};
    let disk = |_: &mut Value, b: &mut Value| b["metadata"]["labels"]["disk"] = json!("ssd");
    let tainted = |a: &mut Value, _: &mut Value| {
        a["spec"]["taints"] = json!([{"key": "x", "value": "y", "effect": "NoSchedule"}]);
    };
    let expression = json!({"key": "disk", "operator": "In", "values": ["ssd"]});
    let term = json!({"matchExpressions": [expression]});
    let required = json!({"nodeSelectorTerms": [term]});
    let preferred = json!([{"weight": 1, "preference": term}]);
    let affinity = |field: &str, value: Value| json!({"affinity": {"nodeAffinity": {field: value}}});
    assert_eq!(choose(plain, json!({})), Ok("a".to_owned()));
    assert_eq!(choose(disk, json!({"nodeSelector": {"disk": "ssd"}})), Ok("b".to_owned()));
    let spec = affinity("requiredDuringSchedulingIgnoredDuringExecution", required);
    assert_eq!(choose(disk, spec), Ok("b".to_owned()));
    let spec = affinity("preferredDuringSchedulingIgnoredDuringExecution", preferred);
    assert_eq!(choose(disk, spec), Ok("b".to_owned()));
    assert_eq!(choose(tainted, json!({})), Ok("b".to_owned()));
    let disliked = |a: &mut Value, _: &mut Value| {
        a["spec"]["taints"] = json!([{"key": "x", "effect": "PreferNoSchedule"}]);
    };
    assert_eq!(choose(disliked, json!({})), Ok("b".to_owned()));
    let small = |a: &mut Value, _: &mut Value| a["status"]["allocatable"]["cpu"] = json!("500m");
    assert_eq!(choose(small, asking("1", "1Gi")), Ok("b".to_owned()));
    let cordoned = |a: &mut Value, _: &mut Value| a["spec"]["unschedulable"] = json!(true);
    assert_eq!(choose(cordoned, json!({})), Ok("b".to_owned()));
    let silent = |a: &mut Value, _: &mut Value| a["status"]["conditions"][0]["status"] = json!("Unknown");
    assert_eq!(choose(silent, json!({})), Ok("b".to_owned()));
}

#[test]
fn a_pod_that_fits_nowhere_is_told_why_in_kubernetes_words() {
    let change = |a: &mut Value, _: &mut Value| {
        a["spec"]["taints"] = json!([{"key": "x", "value": "y", "effect": "NoSchedule"}]);
    };
    let told = choose(change, asking("100", "1Gi"));
    let message = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {x: y}.";
    assert_eq!(told, Err(message.to_owned()));
    let told = choose(|_, _| {}, json!({"nodeSelector": {"disk": "ssd"}}));
    let message = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.";
    assert_eq!(told, Err(message.to_owned()));
    let cordoned = |a: &mut Value, b: &mut Value| {
        a["spec"]["unschedulable"] = json!(true);
        b["status"]["allocatable"]["pods"] = json!("0");
    };
    let message = "0/2 nodes are available: 1 Too many pods, 1 node(s) were unschedulable.";
    assert_eq!(choose(cordoned, json!({})), Err(message.to_owned()));
}

#[test]
fn requests_are_the_larger_of_running_and_starting_with_overhead_on_top() {
    let container = |cpu: &str| json!({"name": "c", "image": "a", "resources": {"requests": {"cpu": cpu}}});
    let mut sidecar = container("50m");
    sidecar["restartPolicy"] = json!("Always");
    let spec = json!({
        "containers": [container("100m"), container("200m")], "initContainers": [sidecar, container("400m")],
        "overhead": {"cpu": "10m"},
    });
    assert_eq!(pod("p", spec).requests.cpu_milli, 460);
}

#[test]
fn what_is_placed_counts_until_it_ends_also_on_a_node_that_comes_later() {
    let mut cache = Cache::default();
    let spec = json!({"containers": [{"name": "c", "image": "a", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let (first, second) = (pod("first", spec.clone()), pod("second", spec));
    cache.place(&first, "a");
    cache.put_node(node(&node_value("a", "4", "8Gi")));
    let refused = pick(&second, cache.nodes()).expect_err("the port is taken");
    let message = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    assert_eq!(refused.message, message);
    assert!(cache.remove(&first.key));
    assert_eq!(pick(&second, cache.nodes()), Ok(0));
    assert_eq!(cache.nodes()[0].used.pods, 0);
}

#[test]
#[ignore = "a measurement: run it in release with --no-capture"]
fn decisions_a_second_with_a_thousand_nodes() {
    let mut cache = Cache::default();
    for number in 0..1000 {
        cache.put_node(node(&node_value(&format!("n{number}"), "64", "256Gi")));
    }
    let begun = Instant::now();
    let count = 20_000;
    for number in 0..count {
        let pod = pod(&format!("p{number}"), asking("100m", "64Mi"));
        let at = pick(&pod, cache.nodes()).expect("there is room");
        let name = cache.nodes()[at].name.clone();
        cache.place(&pod, &name);
    }
    println!("{:.0} decisions a second", f64::from(count) / begun.elapsed().as_secs_f64());
}

struct Running {
    client: Client,
    stop: watch::Sender<bool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl Running {
    async fn start() -> Self {
        Self::over(Api::new(Arc::new(MemoryStore::default()))).await
    }

    async fn over(api: Arc<Api>) -> Self {
        let client = Client::new(api, User::system("tester"));
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
        client.create(&NAMESPACES, "", namespace).await.expect("is created");
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        client.create(&SERVICE_ACCOUNTS, "default", account).await.expect("is created");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(control_scheduler::run(client.clone(), stopped));
        Self { client, stop }
    }

    async fn add_node(&self, name: &str, cpu: &str) {
        let value = node_value(name, cpu, "8Gi");
        self.client.create(&NODES, "", value.clone()).await.expect("is created");
        let status = Patch::Merge(json!({"status": value["status"]}));
        self.client.patch(&NODES, "", name, Some("status"), status).await.expect("status is taken");
        self.knows(name).await;
    }

    /// Pods and nodes are told by two watches: only a pod that was bound to a node shows that the scheduler has seen it.
    async fn knows(&self, node: &str) {
        let name = format!("sees-{node}");
        let container = json!({"name": "main", "image": "a", "imagePullPolicy": "Never"});
        let selector = json!({"kubernetes.io/hostname": node});
        self.add_pod(&name, json!({"containers": [container], "nodeSelector": selector})).await;
        self.until("the node is seen", || self.pod(&name)["spec"]["nodeName"] == node).await;
    }

    async fn add_pod(&self, name: &str, spec: Value) {
        self.client.create(&PODS, "default", pod_value(name, spec)).await.expect("is created");
    }

    fn pod(&self, name: &str) -> Value {
        let pod = self.client.get(&PODS, "default", name).expect("is there");
        serde_json::from_slice(&pod.json).expect("is JSON")
    }

    fn messages(&self, reason: &str) -> Vec<String> {
        let events = self.client.list(&EVENTS, None).items;
        let events = events.iter().map(|event| serde_json::from_slice::<Value>(&event.json).expect("is JSON"));
        let events = events.filter(|event| event["reason"] == reason);
        events.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let mut feed = Feed::new(&self.client, [&PODS, &NODES, &EVENTS, &PERSISTENT_VOLUME_CLAIMS]);
        let wait = async {
            while !holds() {
                feed.next().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "in time: {what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_spread_over_the_nodes_and_an_event_says_where() {
    let running = Running::start().await;
    running.add_node("a", "4").await;
    running.add_node("b", "4").await;
    for name in ["p", "q"] {
        running.add_pod(name, asking("1", "1Gi")).await;
    }
    let told = |name: &str| running.messages("Scheduled").iter().any(|said| said.contains(&format!("default/{name} ")));
    running.until("both are told", || told("p") && told("q")).await;
    let (p, q) = (running.pod("p")["spec"]["nodeName"].clone(), running.pod("q")["spec"]["nodeName"].clone());
    assert_ne!(p, q);
    let message = format!("Successfully assigned default/p to {}", p.as_str().expect("a name"));
    assert!(running.messages("Scheduled").contains(&message));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_fits_nowhere_is_told_so_and_bound_when_a_node_comes() {
    let running = Running::start().await;
    running.add_node("small", "1").await;
    running.add_pod("p", asking("2", "1Gi")).await;
    let told = "0/1 nodes are available: 1 Insufficient cpu.";
    running.until("it is told", || running.messages("FailedScheduling").contains(&told.to_owned())).await;
    running
        .until("its condition says so", || {
            let conditions = running.pod("p")["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|one| one["reason"] == "Unschedulable" && one["message"] == told)
        })
        .await;
    running.add_node("large", "4").await;
    running.until("it is bound", || running.pod("p")["spec"]["nodeName"] == "large").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_another_scheduler_is_left_alone() {
    let running = Running::start().await;
    running.add_node("a", "4").await;
    running.add_pod("theirs", json!({"schedulerName": "other"})).await;
    running.add_pod("ours", json!({})).await;
    running.until("ours is bound", || running.pod("ours")["spec"]["nodeName"] == "a").await;
    assert!(running.pod("theirs")["spec"]["nodeName"].is_null());
}

#[test]
fn a_pod_tied_to_a_node_by_its_name_goes_there_or_nowhere() {
    let tied = |node: &str| {
        let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
        let required = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
    };
    assert_eq!(choose(|_, _| {}, tied("b")), Ok("b".to_owned()));
    let message = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.";
    assert_eq!(choose(|_, _| {}, tied("c")), Err(message.to_owned()));
}

fn claim_value(name: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": class,
        },
    })
}

fn class_value(name: &str, provisioner: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": provisioner, "volumeBindingMode": mode,
    })
}

fn volume_value(name: &str, node: &str, class: &str) -> Value {
    let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "local": {"path": "/srv"},
            "storageClassName": class,
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        },
    })
}

fn mounting(claim: &str) -> Value {
    json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]})
}

impl Running {
    async fn create(&self, resource: &'static Resource, value: Value) {
        let namespace = if resource.namespaced() { "default" } else { "" };
        self.client.create(resource, namespace, value).await.expect("is created");
    }

    fn claim(&self, name: &str) -> Value {
        let claim = self.client.get(&PERSISTENT_VOLUME_CLAIMS, "default", name).expect("is there");
        serde_json::from_slice(&claim.json).expect("is JSON")
    }

    /// What the volume controller does.
    async fn bind(&self, claim: &str, volume: &str) {
        let patch = json!({
            "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": volume},
        });
        let patch = Patch::Merge(patch);
        self.client.patch(&PERSISTENT_VOLUME_CLAIMS, "default", claim, None, patch).await.expect("is bound");
    }

    async fn is_told(&self, message: &str) {
        self.until(message, || self.messages("FailedScheduling").contains(&message.to_owned())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_told_of_its_pods_node_and_the_pod_follows_when_it_is_bound() {
    let running = Running::start().await;
    running.add_node("a", "4").await;
    running.create(&STORAGE_CLASSES, class_value("slow", "bramble.dev/local-path", "WaitForFirstConsumer")).await;
    running.create(&PERSISTENT_VOLUME_CLAIMS, claim_value("data", "slow")).await;
    running.add_pod("p", mounting("data")).await;
    let selected = |claim: Value| claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"].clone();
    running.until("a node is selected", || selected(running.claim("data")) == "a").await;
    assert!(running.pod("p")["spec"]["nodeName"].is_null());
    // The volume lies elsewhere by now: the pod goes where it is.
    running.create(&PERSISTENT_VOLUMES, volume_value("pv", "b", "slow")).await;
    running.bind("data", "pv").await;
    running.is_told("0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity.").await;
    running.add_node("b", "4").await;
    running.until("it is bound", || running.pod("p")["spec"]["nodeName"] == "b").await;
    running.add_pod("q", mounting("data")).await;
    running.until("the next one follows", || running.pod("q")["spec"]["nodeName"] == "b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_claim_is_missing_or_unbound_is_told_so_in_kubernetes_words() {
    let running = Running::start().await;
    running.add_node("a", "4").await;
    running.add_pod("p", mounting("data")).await;
    running.is_told("0/1 nodes are available: persistentvolumeclaim \"data\" not found.").await;
    running.create(&STORAGE_CLASSES, class_value("now", "example.com/nas", "Immediate")).await;
    running.create(&PERSISTENT_VOLUME_CLAIMS, claim_value("data", "now")).await;
    running.is_told("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.").await;
    let class = class_value("by-hand", "kubernetes.io/no-provisioner", "WaitForFirstConsumer");
    running.create(&STORAGE_CLASSES, class).await;
    running.create(&PERSISTENT_VOLUMES, volume_value("pv", "z", "by-hand")).await;
    running.create(&PERSISTENT_VOLUME_CLAIMS, claim_value("other", "by-hand")).await;
    running.add_pod("q", mounting("other")).await;
    running.is_told("0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.").await;
    running.create(&PERSISTENT_VOLUMES, volume_value("near", "a", "by-hand")).await;
    let selected = |claim: Value| claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"].clone();
    running.until("the node of the new volume is selected", || selected(running.claim("other")) == "a").await;
}
