//! What all slices of one owner carry: labels, annotations, the owner itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use control_api::resource::ENDPOINT_SLICES;
use control_client::{DeleteOptions, Key, Object};
use serde_json::{Map, Value, json};

use super::pack::{Group, Slice};
use crate::action::Action;
use crate::controller::Change;
use crate::replica_set::reference;
use crate::service::HEADLESS;
use crate::world::World;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Makes and changes slices for one owner.
pub(crate) struct Maker<'a> {
    owner: &'a Object,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl<'a> Maker<'a> {
    /// Slices carry the owner's labels, except those that have a meaning on slices.
    pub fn new(owner: &'a Object, manager: &str, headless: Option<&str>) -> Self {
        let mut labels = owner.meta.labels.clone();
        labels.retain(|name, _| ![SERVICE_NAME, MANAGED_BY, HEADLESS].contains(&name.as_str()));
        labels.extend(headless.map(|label| (label.to_owned(), String::new())));
        labels.insert(SERVICE_NAME.to_owned(), owner.key.name.to_string());
        labels.insert(MANAGED_BY.to_owned(), manager.to_owned());
        Self { owner, labels, annotations: BTreeMap::new() }
    }

    pub fn annotated(self, annotations: BTreeMap<String, String>) -> Self {
        Self { annotations, ..self }
    }

    /// Whether a slice's labels, or annotations that we know of, are not as they should be.
    pub fn is_stale(&self, slice: &Slice) -> bool {
        let same = |(name, value): (&String, &String)| slice.annotations.get(name) == Some(value);
        slice.object.meta.labels != self.labels || !self.annotations.iter().all(same)
    }

    pub fn create(&self, slice: &Group) -> Action {
        let namespace = &*self.owner.key.namespace;
        let metadata = json!({
            "generateName": format!("{}-", self.owner.key.name), "namespace": namespace, "labels": self.labels,
            "annotations": self.annotations, "ownerReferences": [reference(self.owner)],
        });
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": slice.address_type, "endpoints": slice.endpoints, "ports": slice.ports,
        });
        Action::Create { resource: &ENDPOINT_SLICES, namespace: namespace.to_owned(), object, announce: None }
    }

    pub fn update(&self, slice: &Slice) -> Action {
        let mut labels: Map<String, Value> =
            self.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        for name in slice.object.meta.labels.keys() {
            labels.entry(name).or_insert(Value::Null);
        }
        let metadata = json!({"labels": labels, "annotations": self.annotations});
        let patch = json!({"metadata": metadata, "endpoints": slice.endpoints, "ports": slice.ports});
        Action::merge(&slice.object.key, patch)
    }
}

/// The slices of `owner` that `manager` looks after.
pub(crate) fn owned(world: &World, owner: &Object, manager: &str) -> Vec<Arc<Object>> {
    let mut slices = world.index().owned(&ENDPOINT_SLICES, &owner.meta.uid);
    slices.retain(|slice| {
        slice.meta.labels.get(MANAGED_BY).is_some_and(|found| found == manager)
            && slice.meta.deletion_timestamp.is_none()
    });
    slices
}

pub(crate) fn delete(key: &Key) -> Action {
    Action::Delete { key: key.clone(), options: DeleteOptions::default(), announce: None }
}

/// The owners' names on a changed slice of `manager`, before and now.
pub(crate) fn named_by<'a>(change: &Change<'a>, manager: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let name = |object: &'a Object| {
        let labels = &object.meta.labels;
        let ours = labels.get(MANAGED_BY).is_some_and(|found| found == manager);
        labels.get(SERVICE_NAME).filter(|_| ours).map(String::as_str)
    };
    let (now, before) = (name(change.object), change.previous.and_then(name));
    now.into_iter().chain(before.filter(|before| now != Some(before)))
}
