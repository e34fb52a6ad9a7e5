//! The loop that binds: news in, decisions out, writes beside it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use control_api::Resource;
use control_api::resource::{NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES};
use control_client::queue::Outcome;
use control_client::recorder::seconds;
use control_client::volume::SELECTED_NODE;
use control_client::{About, Client, EventKind, EventType, Feed, Key, News, Object, Patch, Recorder, Status};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cache::Cache;
use crate::filter::{self, Refusal};
use crate::image::Image;
use crate::lookup;
use crate::node::NodeInfo;
use crate::pending::Pending;
use crate::pick::{Unschedulable, nowhere, pick, pick_where};
use crate::platforms::{Answer, Lookup, Platforms};
use crate::pod::{PodInfo, SCHEDULER_NAME};
use crate::volume::Demands;

/// Writes in flight: enough to share one sync of the disk among many binds.
const WRITES_MAX: usize = 256;

/// What may make a pod's claims ready, beside nodes and pods.
static VOLUMES: [&Resource; 3] = [&PERSISTENT_VOLUME_CLAIMS, &PERSISTENT_VOLUMES, &STORAGE_CLASSES];

/// Where a pod goes.
enum Choice {
    Node(usize),
    /// These claims are told of the node; the pod follows when they are bound.
    Claims(Vec<Key>, String),
    /// What these images are for has to be asked first, of one of these nodes.
    Ask(Vec<Lookup>, Vec<String>),
    None(Unschedulable),
}

/// What a write task brings back.
enum Written {
    Bound(Key, Result<(), Status>),
    Reported,
}

/// Runs until `shutdown` says true; binds in flight are finished first.
pub async fn run(client: Client, mut shutdown: watch::Receiver<bool>) {
    let mut feed = Feed::new(&client, [&NODES, &PODS].into_iter().chain(VOLUMES));
    let recorder = Arc::new(Recorder::new(client.clone(), SCHEDULER_NAME));
    let mut scheduler = Scheduler {
        client,
        recorder,
        cache: Cache::default(),
        pending: Pending::default(),
        platforms: Platforms::default(),
    };
    let mut writes: JoinSet<Written> = JoinSet::new();
    let mut questions: JoinSet<(Lookup, Answer)> = JoinSet::new();
    // Before both lists are there, nodes would look empty and every pod unschedulable.
    let mut listed: HashSet<&'static str> = HashSet::new();
    while !*shutdown.borrow() {
        while let Some(news) = feed.ready() {
            scheduler.take(&news, &mut listed);
        }
        if listed.len() == 2 {
            scheduler.schedule(&mut writes);
            while let Some(question) = scheduler.platforms.take_question() {
                questions.spawn(lookup::ask(scheduler.client.clone(), question));
            }
        }
        let deadline = scheduler.pending.deadline();
        tokio::select! {
            changed = shutdown.changed() => if changed.is_err() { break },
            Some(news) = feed.next() => scheduler.take(&news, &mut listed),
            Some(answered) = questions.join_next() => scheduler.learn(answered),
            Some(done) = writes.join_next() => scheduler.finish(done.unwrap_or(Written::Reported)),
            () = until(deadline), if deadline.is_some() && writes.len() < WRITES_MAX => {}
        }
    }
    while writes.join_next().await.is_some() {}
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}

/// Owns the cache and the queue.
struct Scheduler {
    client: Client,
    recorder: Arc<Recorder>,
    cache: Cache,
    pending: Pending,
    platforms: Platforms,
}

/// A pod's images as it asks for them; none where all nodes are of one platform.
type Wanted<'a> = Vec<(&'a Image, Lookup)>;

impl Scheduler {
    fn take(&mut self, news: &News, listed: &mut HashSet<&'static str>) {
        match news {
            News::All(resource, objects) => {
                if VOLUMES.contains(resource) {
                    self.pending.unpark(Instant::now());
                    return;
                }
                self.forget_missing(resource, objects);
                for object in objects {
                    self.see(object, false);
                }
                listed.insert(resource.plural);
            }
            News::Changed(resource, _) if VOLUMES.contains(resource) => self.pending.unpark(Instant::now()),
            News::Changed(_, events) => {
                for event in events {
                    self.see(&event.object, event.kind == EventKind::Deleted);
                }
            }
        }
    }

    fn forget_missing(&mut self, resource: &'static control_client::Resource, objects: &[Arc<Object>]) {
        let names: HashSet<&Key> = objects.iter().map(|object| &object.key).collect();
        if *resource == PODS {
            for key in self.cache.placed_keys().into_iter().chain(self.pending.keys()) {
                if !names.contains(&key) {
                    self.drop_pod(&key);
                }
            }
        } else {
            for name in self.cache.node_names() {
                if !names.contains(&Key::new(&NODES, "", &name)) {
                    self.cache.remove_node(&name);
                }
            }
        }
    }

    fn see(&mut self, object: &Arc<Object>, deleted: bool) {
        if *object.key.resource == PODS {
            if deleted {
                self.drop_pod(&object.key);
            } else {
                self.see_pod(object);
            }
        } else if deleted {
            self.cache.remove_node(&object.key.name);
        } else {
            match NodeInfo::read(object) {
                Ok(node) => {
                    if self.cache.put_node(node) {
                        self.pending.unpark(Instant::now());
                    }
                }
                Err(error) => tracing::warn!(node = &*object.key.name, %error, "a node cannot be read"),
            }
        }
    }

    fn see_pod(&mut self, object: &Arc<Object>) {
        let pod = match PodInfo::read(object) {
            Ok(pod) => pod,
            Err(error) => {
                tracing::warn!(namespace = &*object.key.namespace, pod = &*object.key.name, %error, "a pod cannot be read");
                return;
            }
        };
        if pod.finished {
            self.drop_pod(&pod.key);
        } else if let Some(node) = pod.node.clone() {
            self.pending.remove(&pod.key);
            self.cache.place(&pod, &node);
        } else if !pod.wants_node() {
            self.pending.remove(&pod.key);
        } else if !self.cache.is_placed(&pod.key, &pod.uid) {
            // A pod that is placed and seen without a node is one that we are binding: this is an older version.
            self.pending.put(pod);
        }
    }

    fn drop_pod(&mut self, key: &Key) {
        self.pending.remove(key);
        if self.cache.remove(key) {
            self.pending.unpark(Instant::now());
        }
    }

    fn schedule(&mut self, writes: &mut JoinSet<Written>) {
        while writes.len() < WRITES_MAX {
            let Some(pod) = self.pending.take(Instant::now()) else { return };
            match self.choose(&pod) {
                Choice::Node(at) => {
                    let node = self.cache.nodes()[at].name.clone();
                    self.cache.place(&pod, &node);
                    // From here on the pod counts as placed; a refused bind brings it back.
                    self.pending.remove(&pod.key);
                    writes.spawn(bind(self.client.clone(), self.recorder.clone(), pod.key, pod.uid, node));
                }
                Choice::Claims(claims, node) => {
                    self.pending.park(pod.key.clone(), Instant::now());
                    writes.spawn(select(self.client.clone(), claims, node));
                }
                Choice::Ask(lookups, nodes) => {
                    for lookup in &lookups {
                        self.platforms.want(lookup, pod.key.clone(), &nodes);
                    }
                    self.pending.wait(pod.key, Instant::now());
                }
                Choice::None(unschedulable) => {
                    let now = Instant::now();
                    self.pending.park(pod.key.clone(), now);
                    let wanted = self.wanted(&pod);
                    if let Some(at) = self.platforms.next_look(wanted.iter().map(|(_, lookup)| lookup), now) {
                        self.pending.again(pod.key.clone(), now, at);
                    }
                    writes.spawn(report(self.client.clone(), self.recorder.clone(), pod.key, unschedulable.message));
                }
            }
        }
    }

    fn choose(&self, pod: &PodInfo) -> Choice {
        let nodes = self.cache.nodes();
        let wanted = self.wanted(pod);
        if pod.claims.is_empty() && wanted.is_empty() {
            return pick(pod, nodes).map_or_else(Choice::None, Choice::Node);
        }
        let demands = match Demands::read(&self.client, pod) {
            Ok(demands) => demands,
            Err(why) => return Choice::None(nowhere(nodes.len(), &why)),
        };
        if let Some(ask) = self.ask(pod, &demands, &wanted) {
            return ask;
        }
        let also = |node: &NodeInfo| {
            let mut images = wanted.iter().filter_map(|(image, lookup)| self.platforms.refusal(image, lookup, node));
            demands.refusal(node).or_else(|| images.next())
        };
        // A choice that was made stands as long as it can.
        let again = demands.selected().and_then(|selected| {
            let elsewhere = |node: &NodeInfo| (node.name != selected).then_some(Refusal::Affinity);
            pick_where(pod, nodes, |node| elsewhere(node).or_else(|| also(node))).ok()
        });
        match again.map_or_else(|| pick_where(pod, nodes, also), Ok) {
            Ok(at) if demands.wait() => Choice::Claims(demands.untold(&nodes[at].name), nodes[at].name.clone()),
            Ok(at) => Choice::Node(at),
            Err(unschedulable) => Choice::None(unschedulable),
        }
    }

    fn wanted<'a>(&self, pod: &'a PodInfo) -> Wanted<'a> {
        let images = pod.images.iter().filter(|_| self.cache.is_mixed());
        images.map(|image| (image, lookup::lookup(&self.client, pod, &image.name))).collect()
    }

    /// What has to be asked before the pod can be placed: where it could go only to nodes that hold the images, nothing.
    fn ask(&self, pod: &PodInfo, demands: &Demands, wanted: &Wanted<'_>) -> Option<Choice> {
        let now = Instant::now();
        let open: Wanted<'_> =
            wanted.iter().filter(|(_, lookup)| self.platforms.is_open(lookup, now)).cloned().collect();
        if open.is_empty() {
            return None;
        }
        let fits = |node: &&NodeInfo| filter::refusals(pod, node).is_empty() && demands.refusal(node).is_none();
        let candidates: Vec<&NodeInfo> = self.cache.nodes().iter().filter(fits).collect();
        let lacks = |image: &Image| candidates.iter().any(|node| !node.held.has(image));
        let lookups: Vec<Lookup> =
            open.into_iter().filter(|(image, _)| lacks(image)).map(|(_, lookup)| lookup).collect();
        let names = candidates.iter().map(|node| node.name.clone()).collect();
        (!lookups.is_empty()).then_some(Choice::Ask(lookups, names))
    }

    fn learn(&mut self, answered: Result<(Lookup, Answer), tokio::task::JoinError>) {
        let Ok((lookup, answer)) = answered else { return };
        for pod in self.platforms.answer(lookup, answer, Instant::now()) {
            self.pending.wake(pod);
        }
    }

    fn finish(&mut self, written: Written) {
        let Written::Bound(key, result) = written else { return };
        let now = Instant::now();
        let Err(status) = result else {
            self.pending.finish(key, Outcome::Done, now);
            return;
        };
        tracing::warn!(namespace = &*key.namespace, pod = &*key.name, error = %status, "a bind was refused");
        self.cache.remove(&key);
        // What the store has decides: the pod may be gone, or someone else may have bound it.
        if let Some(object) = self.client.get(key.resource, &key.namespace, &key.name) {
            self.see_pod(&object);
        }
        self.pending.finish(key, Outcome::Failed, now);
    }
}

async fn bind(client: Client, recorder: Arc<Recorder>, key: Key, uid: String, node: String) -> Written {
    let body = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": &*key.name, "namespace": &*key.namespace, "uid": uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let result = client.create_subresource(key.resource, &key.namespace, &key.name, "binding", body).await;
    if result.is_ok()
        && let Some(object) = client.get(key.resource, &key.namespace, &key.name)
    {
        let message = format!("Successfully assigned {}/{} to {node}", key.namespace, key.name);
        recorder.record(&About::from(&*object), EventType::Normal, "Scheduled", &message).await;
    }
    Written::Bound(key, result)
}

/// Tells claims which node their first pod goes to.
async fn select(client: Client, claims: Vec<Key>, node: String) -> Written {
    for key in claims {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {SELECTED_NODE: node}}}));
        if let Err(status) = client.patch(key.resource, &key.namespace, &key.name, None, patch).await {
            tracing::warn!(namespace = &*key.namespace, claim = &*key.name, error = %status, "a claim was not told of its node");
        }
    }
    Written::Reported
}

/// Says in the pod's condition and in an Event why it has no node.
async fn report(client: Client, recorder: Arc<Recorder>, key: Key, message: String) -> Written {
    let Some(object) = client.get(key.resource, &key.namespace, &key.name) else { return Written::Reported };
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastTransitionTime": transition_time(&object),
    });
    if !says(&object, &message) {
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        let result = client.patch(key.resource, &key.namespace, &key.name, Some("status"), patch).await;
        if let Err(status) = result {
            tracing::debug!(pod = &*key.name, error = %status, "a pod's condition was not written");
        }
    }
    recorder.record(&About::from(&*object), EventType::Warning, "FailedScheduling", &message).await;
    Written::Reported
}

fn scheduled_condition(object: &Object) -> Option<control_api::view::core::PodCondition> {
    let pod: control_api::view::core::Pod = control_client::view(object).ok()?;
    pod.status?.conditions?.into_iter().find(|condition| condition.type_ == "PodScheduled")
}

fn says(object: &Object, message: &str) -> bool {
    scheduled_condition(object)
        .is_some_and(|condition| condition.status == "False" && condition.message.as_deref() == Some(message))
}

/// The time of the last change of status, which another message is not.
fn transition_time(object: &Object) -> String {
    let kept = scheduled_condition(object).filter(|condition| condition.status == "False");
    let time = kept.and_then(|condition| condition.last_transition_time).map_or_else(Timestamp::now, |time| time.0);
    seconds(time)
}
