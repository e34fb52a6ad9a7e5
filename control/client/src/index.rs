//! Objects by owner and pods by node.
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
        if let Some(node) = node_of(object) {
            put(self.by_node.entry(node).or_default());
        }
    }

    fn remove(&mut self, object: &Object) {
        for owner in &object.meta.owner_references {
            take(&mut self.by_owner, &owner.uid, &object.key);
        }
        take(&mut self.orphans, &object.key.namespace, &object.key);
        if let Some(node) = node_of(object) {
            take(&mut self.by_node, &node, &object.key);
        }
    }
}

fn take<K: Clone + Eq + std::hash::Hash>(map: &mut HashMap<K, Objects>, at: &K, key: &Key) {
    if let Some(objects) = map.get_mut(at) {
        objects.remove(key);
        if objects.is_empty() {
            map.remove(at);
        }
    }
}

fn node_of(object: &Object) -> Option<String> {
    if *object.key.resource != control_api::resource::PODS {
        return None;
    }
    let bound: Bound = serde_json::from_slice(&object.json).ok()?;
    (!bound.spec.node_name.is_empty()).then_some(bound.spec.node_name)
}
