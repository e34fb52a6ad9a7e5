//! Namespaces: the four that every cluster has, and the emptying of those that are deleted.

use control_api::resource::{self, NAMESPACES};
use control_api::view::Time;
use control_api::view::core::{Namespace, NamespaceCondition};
use control_client::{DeleteOptions, Key, Object, Preconditions, Propagation, Resource};
use serde_json::{Value, json};

use crate::action::Action;
use crate::controller::{self, Change, Controller, Input};
use crate::error::Error;
use crate::world::{World, view};

/// Made at the start where they are missing.
const EVERY_CLUSTER_HAS: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// The finalizer in `spec.finalizers` that this controller removes.
const FINALIZER: &str = "kubernetes";

pub struct NamespaceController;

impl Controller for NamespaceController {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        let contents = resource::all().iter().filter(|row| row.namespaced());
        let contents = contents.map(|row| Input { resource: row, keys: namespace_emptied });
        contents.chain([Input { resource: &NAMESPACES, keys: controller::itself }]).collect()
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        resource::all()
    }

    fn initial(&self) -> Vec<Key> {
        EVERY_CLUSTER_HAS.iter().map(|name| Key::new(&NAMESPACES, "", name)).collect()
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(object) = world.get(key) else {
            return Ok(EVERY_CLUSTER_HAS.contains(&&*key.name).then(|| create(&key.name)).into_iter().collect());
        };
        if object.meta.deletion_timestamp.is_none() {
            return Ok(Vec::new());
        }
        empty(world, &object)
    }
}

/// The namespace of an object that is gone, where the namespace waits for that.
fn namespace_emptied(world: &World, change: &Change<'_>) -> Vec<Key> {
    if !change.deleted {
        return Vec::new();
    }
    let key = Key::new(&NAMESPACES, "", &change.object.key.namespace);
    let waits = world.get(&key).is_some_and(|namespace| namespace.meta.deletion_timestamp.is_some());
    if waits { vec![key] } else { Vec::new() }
}

fn create(name: &str) -> Action {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    Action::Create { resource: &NAMESPACES, namespace: String::new(), object, announce: None }
}

fn empty(world: &World, namespace: &Object) -> Result<Vec<Action>, Error> {
    let mut actions = Vec::new();
    let mut left = Vec::new();
    let mut finalizers = Vec::new();
    for row in resource::all().iter().filter(|row| row.namespaced()) {
        let objects = world.list(row, Some(&namespace.key.name));
        if !objects.is_empty() {
            left.push((row.group_resource(), objects.len()));
        }
        actions.extend(
            objects.iter().filter(|object| object.meta.deletion_timestamp.is_none()).map(|object| delete(object)),
        );
        count_finalizers(&objects, &mut finalizers);
    }
    if !left.is_empty() {
        let conditions = conditions(world, namespace, &left, &finalizers)?;
        actions.extend(conditions);
        return Ok(actions);
    }
    let raw: Value = view(namespace)?;
    let finalizers = raw["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
    if finalizers.iter().any(|found| found == FINALIZER) {
        let mut object = raw;
        object["spec"]["finalizers"] =
            finalizers.into_iter().filter(|found| found != FINALIZER).collect::<Vec<_>>().into();
        actions.push(Action::Finalize { key: namespace.key.clone(), object });
    }
    Ok(actions)
}

fn delete(object: &Object) -> Action {
    let preconditions = Preconditions { uid: Some(object.meta.uid.clone()), ..Preconditions::default() };
    let options =
        DeleteOptions { propagation: Some(Propagation::Background), preconditions, ..DeleteOptions::default() };
    Action::Delete { key: object.key.clone(), options, announce: None }
}

/// How many objects each finalizer holds.
fn count_finalizers(objects: &[std::sync::Arc<Object>], counts: &mut Vec<(String, usize)>) {
    for finalizer in objects.iter().flat_map(|object| &object.meta.finalizers) {
        match counts.iter_mut().find(|(found, _)| found == finalizer) {
            Some((_, count)) => *count += 1,
            None => counts.push((finalizer.clone(), 1)),
        }
    }
}

/// What still holds the namespace, as `kubectl get namespace -o yaml` shows it.
fn conditions(
    world: &World,
    namespace: &Object,
    left: &[(String, usize)],
    held: &[(String, usize)],
) -> Result<Option<Action>, Error> {
    let typed: Namespace = view(namespace)?;
    let before = typed.status.and_then(|status| status.conditions).unwrap_or_default();
    let mut after = before.clone();
    let remaining: Vec<String> =
        left.iter().map(|(name, count)| format!("{name}. has {count} resource instances")).collect();
    let message = format!("Some resources are remaining: {}", remaining.join(", "));
    set(
        &mut after,
        world,
        "NamespaceDeletionDiscoveryFailure",
        "False",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    );
    set(
        &mut after,
        world,
        "NamespaceDeletionContentFailure",
        "False",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    );
    set(&mut after, world, "NamespaceContentRemaining", "True", "SomeResourcesRemain", &message);
    if !held.is_empty() {
        let held: Vec<String> =
            held.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
        let message = format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
        set(&mut after, world, "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", &message);
    }
    if after == before {
        return Ok(None);
    }
    let conditions = serde_json::to_value(&after).expect("conditions are plain strings and times");
    Ok(Some(Action::UpdateStatus { key: namespace.key.clone(), status: json!({"conditions": conditions}) }))
}

fn set(conditions: &mut Vec<NamespaceCondition>, world: &World, kind: &str, status: &str, reason: &str, message: &str) {
    let found = conditions.iter_mut().find(|condition| condition.type_ == kind);
    let mut condition = NamespaceCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(world.now_in_seconds())),
    };
    match found {
        Some(found) => {
            if found.status == status {
                condition.last_transition_time = found.last_transition_time.clone();
            }
            *found = condition;
        }
        None => conditions.push(condition),
    }
}
