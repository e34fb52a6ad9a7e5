//! ReplicaSet: as many active pods as `spec.replicas` says, adopted, made or deleted; and the same for its ancestor, the
//! ReplicationController, whose selector is labels alone.

use std::sync::Arc;
use std::time::Duration;

use control_api::LabelSelector;
use control_api::resource::{PODS, REPLICA_SETS, REPLICATION_CONTROLLERS};
use control_api::scale::pod_selector;
use control_api::view::apps::ReplicaSet;
use control_api::view::core::Pod;
use control_client::{About, DeleteOptions, Key, Object, Patch, Preconditions, Resource};
use serde_json::{Value, json};

use crate::action::{Action, Announce};
use crate::controller::{self, Change, Controller, Input};
use crate::error::Error;
use crate::pod;
use crate::world::{World, view};

mod rank;
mod status;

/// Pods made or deleted by one reconcile, as in Kubernetes.
const BURST_MAX: usize = 500;

static OUTPUTS: [&Resource; 2] = [&PODS, &REPLICA_SETS];
static OLD_OUTPUTS: [&Resource; 2] = [&PODS, &REPLICATION_CONTROLLERS];

pub struct ReplicaSetController;

/// The same work for the older kind.
pub struct ReplicationController;

/// A pod with what is needed to act on it.
pub(crate) struct Owned {
    pub object: Arc<Object>,
    pub pod: Pod,
}

impl Controller for ReplicaSetController {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        let keys = |world: &World, change: &Change<'_>| owners(&REPLICA_SETS, world, change);
        vec![Input { resource: &REPLICA_SETS, keys: controller::itself }, Input { resource: &PODS, keys }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        reconcile(world, key)
    }
}

impl Controller for ReplicationController {
    fn name(&self) -> &'static str {
        "replication-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        let keys = |world: &World, change: &Change<'_>| owners(&REPLICATION_CONTROLLERS, world, change);
        vec![Input { resource: &REPLICATION_CONTROLLERS, keys: controller::itself }, Input { resource: &PODS, keys }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OLD_OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        reconcile(world, key)
    }
}

fn reconcile(world: &World, key: &Key) -> Result<Vec<Action>, Error> {
    let Some(object) = world.get(key) else { return Ok(Vec::new()) };
    let set: ReplicaSet = view(&object)?;
    let raw: Value = view(&object)?;
    let mut actions = Vec::new();
    let pods = claim(world, &object, &raw, &mut actions)?;
    let active: Vec<Owned> = pods.into_iter().filter(|owned| pod::is_active(&owned.pod)).collect();
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0);
    status::update(&object, &set, &active, world, &mut actions);
    if object.meta.deletion_timestamp.is_none() {
        scale(&object, &raw, active, usize::try_from(wanted).unwrap_or(0), world, &mut actions);
    }
    Ok(actions)
}

/// The pod's controller of that kind or, for a pod without a controller, every one whose selector matches it.
fn owners(resource: &'static Resource, world: &World, change: &Change<'_>) -> Vec<Key> {
    let mut keys = controller::controller_of(resource, change);
    if change.object.meta.controller().is_none() && !change.deleted {
        for set in world.list(resource, Some(&change.object.key.namespace)) {
            let matches = view::<Value>(&set).ok().and_then(|raw| selector(&set, &raw).ok());
            if matches.is_some_and(|selector| selector.matches(&change.object.meta.labels)) {
                keys.push(set.key.clone());
            }
        }
    }
    keys
}

pub(crate) fn selector(object: &Object, raw: &Value) -> Result<LabelSelector, Error> {
    LabelSelector::from_value(&pod_selector(raw)).map_err(|source| Error::Selector {
        kind: object.key.resource.kind,
        namespace: object.key.namespace.to_string(),
        name: object.key.name.to_string(),
        source,
    })
}

/// The reference that makes `owner` the controller of what carries it.
pub(crate) fn reference(owner: &Object) -> Value {
    json!({
        "apiVersion": owner.key.resource.api_version(), "kind": owner.key.resource.kind,
        "name": &*owner.key.name, "uid": owner.meta.uid, "controller": true, "blockOwnerDeletion": true,
    })
}

/// The dependents of `resource` that `owner` controls, after those that match its selector were adopted and those that
/// no longer match were released.
pub(crate) fn claim_objects(
    world: &World,
    resource: &'static Resource,
    owner: &Object,
    selector: &LabelSelector,
    actions: &mut Vec<Action>,
) -> Vec<Arc<Object>> {
    let uid = &owner.meta.uid;
    let living = owner.meta.deletion_timestamp.is_none();
    let mut claimed = Vec::new();
    for object in world.index().owned(resource, uid) {
        if object.meta.controller().is_none_or(|controller| controller.uid != *uid) {
            continue;
        }
        if selector.matches(&object.meta.labels) {
            claimed.push(object);
        } else if living {
            let released = json!([{"$patch": "delete", "uid": uid}]);
            let patch = json!({"metadata": {"uid": object.meta.uid, "ownerReferences": released}});
            actions.push(Action::Patch { key: object.key.clone(), patch: Patch::Strategic(patch) });
        }
    }
    if living && !selector.is_empty() {
        for object in world.index().orphans(resource, &owner.key.namespace) {
            if object.meta.deletion_timestamp.is_none() && selector.matches(&object.meta.labels) {
                let patch = json!({"metadata": {"uid": object.meta.uid, "ownerReferences": [reference(owner)]}});
                actions.push(Action::Patch { key: object.key.clone(), patch: Patch::Strategic(patch) });
                claimed.push(object);
            }
        }
    }
    claimed
}

fn claim(world: &World, object: &Object, raw: &Value, actions: &mut Vec<Action>) -> Result<Vec<Owned>, Error> {
    let selector = selector(object, raw)?;
    let mut pods = Vec::new();
    let mut adoptions = Vec::new();
    for claimed in claim_objects(world, &PODS, object, &selector, &mut adoptions) {
        let pod: Pod = view(&claimed)?;
        pods.push(Owned { object: claimed, pod });
    }
    // A pod that has ended is not worth adopting; Kubernetes looks at active pods only.
    adoptions.retain(|action| {
        let Action::Patch { key, .. } = action else { return true };
        pods.iter().find(|owned| owned.object.key == *key).is_none_or(|owned| pod::is_active(&owned.pod))
    });
    actions.append(&mut adoptions);
    Ok(pods)
}

fn scale(object: &Object, raw: &Value, active: Vec<Owned>, wanted: usize, world: &World, actions: &mut Vec<Action>) {
    let announce = |done, failed| Some(Announce { about: About::from(object), done, failed, noun: "pod" });
    if active.len() < wanted {
        for _ in 0..(wanted - active.len()).min(BURST_MAX) {
            actions.push(Action::Create {
                resource: &PODS,
                namespace: object.key.namespace.to_string(),
                object: new_pod(object, &raw["spec"]["template"]),
                announce: announce("SuccessfulCreate", "FailedCreate"),
            });
        }
        return;
    }
    let surplus = (active.len() - wanted).min(BURST_MAX);
    if surplus == 0 {
        return;
    }
    for owned in rank::in_order_of_deletion(active, world.now()).into_iter().take(surplus) {
        let preconditions = Preconditions { uid: Some(owned.object.meta.uid.clone()), ..Preconditions::default() };
        actions.push(Action::Delete {
            key: owned.object.key.clone(),
            options: DeleteOptions { preconditions, ..DeleteOptions::default() },
            announce: announce("SuccessfulDelete", "FailedDelete"),
        });
    }
}

/// A pod of the template, named by the server.
pub(crate) fn new_pod(object: &Object, template: &Value) -> Value {
    let mut metadata = json!({
        "generateName": format!("{}-", object.key.name), "namespace": &*object.key.namespace,
        "ownerReferences": [reference(object)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field).filter(|value| !value.is_null()) {
            metadata[field] = value.clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

fn requeue(seconds: i64) -> Action {
    Action::RequeueAfter(Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1)))
}
