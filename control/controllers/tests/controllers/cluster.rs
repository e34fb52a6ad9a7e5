//! A cluster without nodes: store, pipeline, controllers, and a stand-in for scheduler and kubelet.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use control_api::resource::{
    DAEMON_SETS, DEPLOYMENTS, JOBS, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, REPLICA_SETS,
};
use control_client::{Api, Client, DeleteOptions, EventKind, Feed, Index, News, Object, Patch, Resource, User};
use control_controllers::{Config, World};
use control_store::MemoryStore;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

/// How long a story may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);
pub const NODE: &str = "node1";

pub struct Cluster {
    pub client: Client,
    /// The server's own.
    pub addresses: watch::Sender<Vec<IpAddr>>,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}

pub fn client() -> (Arc<Api>, Client) {
    let api = Api::new(Arc::new(MemoryStore::default()));
    let client = Client::new(api.clone(), User::system("tester"));
    (api, client)
}

/// What a controller would see now.
pub fn world(client: &Client) -> World {
    let index = Index::new(client.clone(), control_api::resource::all().iter().copied());
    World::new(client.clone(), Arc::new(index), Timestamp::now())
}

pub async fn create(client: &Client, resource: &'static Resource, namespace: &str, object: Value) -> Arc<Object> {
    client.create(resource, namespace, object).await.expect("is created")
}

pub async fn add_namespace(client: &Client, name: &str) {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    create(client, &control_api::resource::NAMESPACES, "", object).await;
}

/// A node whose Ready condition says `ready`.
pub async fn add_node(client: &Client, name: &str, ready: &str) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    create(client, &NODES, "", node).await;
    set_ready(client, name, ready).await;
}

pub async fn set_ready(client: &Client, node: &str, ready: &str) {
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
    client.patch(&NODES, "", node, Some("status"), Patch::Strategic(status)).await.expect("status is taken");
}

impl Cluster {
    /// Running, with namespace `default` and one node, whose pods become ready unless their image is `broken`.
    pub async fn start() -> Self {
        let (api, client) = client();
        let (stop, stopped) = watch::channel(false);
        let (addresses, followed) = watch::channel(vec![IpAddr::from([192, 168, 1, 7])]);
        let pool = control_controllers::Pool::parse(&["192.168.1.240-192.168.1.241".to_owned()]).expect("a pool");
        let config = Config {
            ca_pem: "the CA".to_owned(),
            addresses: followed,
            load_balancers: Some(pool),
            ..Config::default()
        };
        let tasks =
            vec![tokio::spawn(control_controllers::run(api, config, stopped)), tokio::spawn(stand_in(client.clone()))];
        let cluster = Self { client, addresses, stop, tasks };
        cluster
            .until("pods can be made in the namespace", |client| {
                client.get(&control_api::resource::SERVICE_ACCOUNTS, "default", "default").is_some()
            })
            .await;
        add_node(&cluster.client, NODE, "True").await;
        cluster
    }

    /// Waits for a condition; it is looked at again after every write.
    pub async fn until(&self, what: &str, holds: impl Fn(&Client) -> bool) {
        let mut feed = Feed::new(&self.client, control_api::resource::all().iter().copied());
        let wait = async {
            while !holds(&self.client) {
                feed.next().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "in time: {what}; {}", self.describe());
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for resource in
            [&DEPLOYMENTS, &REPLICA_SETS, &DAEMON_SETS, &JOBS, &PERSISTENT_VOLUMES, &PERSISTENT_VOLUME_CLAIMS, &PODS]
        {
            for object in self.client.list(resource, None).items {
                let value = value(&object);
                text += &format!(
                    "\n{} {}: {} {}",
                    resource.plural, object.key.name, value["spec"]["replicas"], value["status"]
                );
            }
        }
        text
    }

    pub async fn apply(&self, resource: &'static Resource, name: &str, patch: Value) {
        self.client.patch(resource, "default", name, None, Patch::Strategic(patch)).await.expect("is patched");
    }

    pub fn deployment(&self, name: &str) -> Value {
        value(&self.client.get(&DEPLOYMENTS, "default", name).expect("the deployment is there"))
    }

    pub fn events(&self, reason: &str) -> Vec<String> {
        let events = self.client.list(&control_api::resource::EVENTS, None).items;
        let events = events.iter().map(|event| value(event)).filter(|event| event["reason"] == reason);
        events.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

pub fn value(object: &Object) -> Value {
    serde_json::from_slice(&object.json).expect("stored objects are JSON")
}

pub fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

/// All of a Deployment's pods run its newest template and are available.
pub fn is_rolled_out(client: &Client, name: &str, replicas: i64) -> bool {
    let Some(object) = client.get(&DEPLOYMENTS, "default", name) else { return false };
    let status = &value(&object)["status"];
    let counts = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
    status["observedGeneration"] == object.meta.generation && counts.iter().all(|count| status[count] == replicas)
}

/// Binds every pod, says that it runs, and removes it when it is asked to end.
async fn stand_in(client: Client) {
    let mut feed = Feed::new(&client, [&PODS]);
    while let Some(news) = feed.next().await {
        let pods: Vec<Arc<Object>> = match news {
            News::All(_, objects) => objects,
            News::Changed(_, events) => {
                events.into_iter().filter(|event| event.kind != EventKind::Deleted).map(|event| event.object).collect()
            }
        };
        for pod in pods {
            drive(&client, &pod).await;
        }
    }
}

async fn drive(client: &Client, seen: &Object) {
    let key = &seen.key;
    let Some(pod) = client.get(&PODS, &key.namespace, &key.name) else { return };
    let now = value(&pod);
    if pod.meta.deletion_timestamp.is_some() {
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        let _gone_already = client.delete(&PODS, &key.namespace, &key.name, options).await;
    } else if now["spec"]["nodeName"].is_null() {
        let required = &now["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let tied = required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].as_str();
        let target = json!({"apiVersion": "v1", "kind": "Node", "name": tied.unwrap_or(NODE)});
        let binding =
            json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": &*key.name}, "target": target});
        let _gone_already = client.create_subresource(&PODS, &key.namespace, &key.name, "binding", binding).await;
    } else if now["status"]["phase"] == "Pending" && now["spec"]["containers"][0]["image"] != "broken" {
        let time = control_client::recorder::seconds(Timestamp::now());
        let over = match now["spec"]["containers"][0]["image"].as_str() {
            Some("succeeds") => Some("Succeeded"),
            Some("fails") => Some("Failed"),
            _ => None,
        };
        if let Some(phase) = over {
            let ended = json!({"name": "main", "state": {"terminated": {"exitCode": 0, "finishedAt": time}}});
            let status = Patch::Strategic(json!({"status": {"phase": phase, "containerStatuses": [ended]}}));
            let _gone_already = client.patch(&PODS, &key.namespace, &key.name, Some("status"), status).await;
            return;
        }
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": time});
        let status = Patch::Strategic(json!({"status": {"phase": "Running", "conditions": [ready]}}));
        let _gone_already = client.patch(&PODS, &key.namespace, &key.name, Some("status"), status).await;
    }
}
