//! Objects by owner, pods by node and by the claims that they mount, Services by what they select.
//!
//! The index follows each resource's history and catches up whenever it is asked, on the asker's thread: an answer
//! holds every write that was answered before the question, as the store's memory does. It wakes up for nothing. It
//! keeps references to the store's own objects, not copies.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use control_api::Resource;
use control_store::{Event, EventKind, Key, Object, Watch};
use serde::Deserialize;

use crate::client::Client;

type Objects = BTreeMap<Key, Arc<Object>>;
type Labels = BTreeMap<String, String>;
/// Where a Service stands: its namespace, and a name and value of its selector.
type Place = (Arc<str>, String, String);

/// Shared by all controllers.
pub struct Index {
    client: Client,
    shelves: HashMap<&'static Resource, Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    watch: Option<Watch>,
    by_owner: HashMap<String, Objects>,
    /// Objects without a controller, by namespace: what a selector may adopt.
    orphans: HashMap<Arc<str>, Objects>,
    by_node: HashMap<String, Objects>,
    /// Pods by the namespace and name of each claim that they mount.
    by_claim: HashMap<(Arc<str>, String), Objects>,
    /// Services under one pair of their selector: a pod's labels lead to the few that may select it.
    by_selector: HashMap<Place, BTreeMap<Key, Labels>>,
}

#[derive(Deserialize)]
struct Selecting {
    #[serde(default)]
    spec: SelectingSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SelectingSpec {
    selector: Option<Labels>,
}

#[derive(Deserialize)]
struct Bound {
    #[serde(default)]
    spec: BoundSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BoundSpec {
    node_name: String,
    volumes: Vec<BoundVolume>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BoundVolume {
    persistent_volume_claim: Option<BoundClaim>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BoundClaim {
    claim_name: String,
}

impl Index {
    /// An index over `resources`; others have no owners as far as it knows.
    pub fn new(client: Client, resources: impl IntoIterator<Item = &'static Resource>) -> Self {
        let shelves = resources.into_iter().map(|resource| (resource, Mutex::default())).collect();
        Self { client, shelves }
    }

    /// Objects of `resource` that name `uid` among their owners.
    pub fn owned(&self, resource: &'static Resource, uid: &str) -> Vec<Arc<Object>> {
        self.read(resource, |shelf| values(shelf.by_owner.get(uid)))
    }

    /// Objects of every indexed resource that name `uid` among their owners.
    pub fn dependents(&self, uid: &str) -> Vec<Arc<Object>> {
        self.shelves.keys().flat_map(|resource| self.owned(resource, uid)).collect()
    }

    /// Objects of `resource` in `namespace` that no controller owns.
    pub fn orphans(&self, resource: &'static Resource, namespace: &str) -> Vec<Arc<Object>> {
        self.read(resource, |shelf| values(shelf.orphans.get(namespace)))
    }

    /// Pods bound to `node`.
    pub fn pods_on(&self, node: &str) -> Vec<Arc<Object>> {
        self.read(&control_api::resource::PODS, |shelf| values(shelf.by_node.get(node)))
    }

    /// Services in `namespace` whose selector matches `labels`; the number of other Services costs nothing.
    pub fn services_selecting(&self, namespace: &str, labels: &Labels) -> Vec<Key> {
        self.read(&control_api::resource::SERVICES, |shelf| {
            let namespace: Arc<str> = namespace.into();
            let mut found = Vec::new();
            for (name, value) in labels {
                let under = shelf.by_selector.get(&(namespace.clone(), name.clone(), value.clone()));
                let matching = |selector: &Labels| selector.iter().all(|(name, value)| labels.get(name) == Some(value));
                found.extend(under.into_iter().flatten().filter(|(_, all)| matching(all)).map(|(key, _)| key.clone()));
            }
            found
        })
    }

    /// Pods, ended ones too, that mount a claim.
    pub fn pods_with_claim(&self, namespace: &str, claim: &str) -> Vec<Arc<Object>> {
        let key = (Arc::from(namespace), claim.to_owned());
        self.read(&control_api::resource::PODS, |shelf| values(shelf.by_claim.get(&key)))
    }

    fn read<T: Default>(&self, resource: &'static Resource, look: impl FnOnce(&Shelf) -> T) -> T {
        let Some(shelf) = self.shelves.get(resource) else { return T::default() };
        let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.catch_up(&self.client, resource);
        look(&shelf)
    }
}

fn values(objects: Option<&Objects>) -> Vec<Arc<Object>> {
    objects.map(|objects| objects.values().cloned().collect()).unwrap_or_default()
}

impl Shelf {
    fn catch_up(&mut self, client: &Client, resource: &'static Resource) {
        loop {
            if let Some(watch) = &mut self.watch
                && let Ok(events) = watch.ready()
            {
                for event in &events {
                    self.apply(event);
                }
                return;
            }
            // The first question, or a history that does not reach back to the last one.
            let listing = client.list(resource, None);
            *self = Self { watch: client.watch(resource, listing.revision).ok(), ..Self::default() };
            for object in &listing.items {
                self.insert(object);
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        if let Some(previous) = &event.previous {
            self.remove(previous);
        }
        if event.kind != EventKind::Deleted {
            self.insert(&event.object);
        }
    }

    fn insert(&mut self, object: &Arc<Object>) {
        let put = |objects: &mut Objects| objects.insert(object.key.clone(), object.clone());
        for owner in &object.meta.owner_references {
            put(self.by_owner.entry(owner.uid.clone()).or_default());
        }
        if object.meta.controller().is_none() {
            put(self.orphans.entry(object.key.namespace.clone()).or_default());
        }
        let spec = pod_spec(object);
        if !spec.node_name.is_empty() {
            put(self.by_node.entry(spec.node_name.clone()).or_default());
        }
        for claim in claims(&spec) {
            put(self.by_claim.entry((object.key.namespace.clone(), claim)).or_default());
        }
        if let Some((place, selector)) = selector_of(object) {
            self.by_selector.entry(place).or_default().insert(object.key.clone(), selector);
        }
    }

    fn remove(&mut self, object: &Object) {
        for owner in &object.meta.owner_references {
            take(&mut self.by_owner, &owner.uid, &object.key);
        }
        take(&mut self.orphans, &object.key.namespace, &object.key);
        let spec = pod_spec(object);
        if !spec.node_name.is_empty() {
            take(&mut self.by_node, &spec.node_name, &object.key);
        }
        for claim in claims(&spec) {
            take(&mut self.by_claim, &(object.key.namespace.clone(), claim), &object.key);
        }
        if let Some((place, _)) = selector_of(object) {
            take(&mut self.by_selector, &place, &object.key);
        }
    }
}

fn take<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, BTreeMap<Key, V>>, at: &K, key: &Key) {
    if let Some(objects) = map.get_mut(at) {
        objects.remove(key);
        if objects.is_empty() {
            map.remove(at);
        }
    }
}

/// A Service's selector, and its place in the index; one without a selector selects nothing.
fn selector_of(object: &Object) -> Option<(Place, Labels)> {
    if *object.key.resource != control_api::resource::SERVICES {
        return None;
    }
    let selecting: Selecting = serde_json::from_slice(&object.json).ok()?;
    let selector = selecting.spec.selector?;
    let (name, value) = selector.last_key_value()?;
    Some(((object.key.namespace.clone(), name.clone(), value.clone()), selector))
}

/// Empty for what is no pod.
fn pod_spec(object: &Object) -> BoundSpec {
    if *object.key.resource != control_api::resource::PODS {
        return BoundSpec::default();
    }
    serde_json::from_slice::<Bound>(&object.json).map(|bound| bound.spec).unwrap_or_default()
}

fn claims(spec: &BoundSpec) -> impl Iterator<Item = String> {
    let claims = spec.volumes.iter().filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.map(|claim| claim.claim_name.clone())
}
