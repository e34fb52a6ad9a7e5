//! Garbage collection: what follows its owners into deletion, in Kubernetes' three ways.
//!
//! *Background*: an object all of whose owners are gone is deleted; one that keeps some loses the references to the
//! others. *Foreground*: an owner with the finalizer `foregroundDeletion` waits for the dependents that block it.
//! *Orphan*: an owner with the finalizer `orphan` first lets go of its dependents.
//!
//! An owner is looked up in the store's memory by kind, name and uid: absent there is absent, so no second, live look
//! is needed before a deletion.

use control_api::resource::{self, EVENTS, LEASES};
use control_api::{OwnerReference, Scope};
use control_client::{DeleteOptions, Key, Object, Preconditions, Propagation, Resource};
use serde_json::{Value, json};

use crate::action::Action;
use crate::controller::{Change, Controller, Input};
use crate::error::Error;
use crate::world::{World, view};

pub(crate) const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

pub struct GarbageCollector;

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn inputs(&self) -> Vec<Input> {
        // Events have no owners; a node's lease changes every few seconds and goes with its node's deletion, which
        // the node's own event brings here.
        let followed = resource::all().iter().filter(|row| **row != &EVENTS && **row != &LEASES);
        followed.map(|row| Input { resource: row, keys: concerned }).collect()
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        resource::all()
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        if object.meta.deletion_timestamp.is_some() {
            if has(&object, ORPHAN) {
                return orphan_dependents(world, &object);
            }
            if has(&object, FOREGROUND) {
                return delete_dependents(world, &object);
            }
            return Ok(Vec::new());
        }
        follow_owners(world, &object)
    }
}

/// An object with owners that is new or changed its owners; its owners when it is gone, in case they wait for it; its
/// dependents when it is gone.
fn concerned(world: &World, change: &Change<'_>) -> Vec<Key> {
    let object = change.object;
    let mut keys: Vec<Key> = Vec::new();
    if change.deleted {
        keys.extend(world.index().dependents(&object.meta.uid).iter().map(|dependent| dependent.key.clone()));
        keys.extend(object.meta.owner_references.iter().filter_map(|owner| owner_key(owner, &object.key.namespace)));
        return keys;
    }
    let ending = object.meta.deletion_timestamp.is_some();
    let waits = ending && (has(object, FOREGROUND) || has(object, ORPHAN));
    let news = change.previous.is_none_or(|previous| previous.meta.owner_references != object.meta.owner_references);
    if waits || (news && !object.meta.owner_references.is_empty()) {
        keys.push(object.key.clone());
    }
    if let Some(previous) = change.previous.filter(|_| news) {
        let lost = &previous.meta.owner_references;
        keys.extend(lost.iter().filter_map(|owner| owner_key(owner, &object.key.namespace)));
    }
    if waits && change.previous.is_some_and(|previous| previous.meta.deletion_timestamp.is_none()) {
        // Dependents of several owners may now have only owners that are on their way out.
        keys.extend(world.index().dependents(&object.meta.uid).iter().map(|dependent| dependent.key.clone()));
    }
    keys
}

fn has(object: &Object, finalizer: &str) -> bool {
    object.meta.finalizers.iter().any(|found| found == finalizer)
}

/// None for a kind that is not served: nothing can be said about such an owner.
fn owner_key(owner: &OwnerReference, namespace: &str) -> Option<Key> {
    let row = resource::find_kind(&owner.api_version, &owner.kind)?;
    let namespace = if row.scope == Scope::Cluster { "" } else { namespace };
    Some(Key::new(row, namespace, &owner.name))
}

/// How an owner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Present,
    /// In foreground deletion: waits for its dependents.
    Waiting,
    Absent,
}

fn stand(world: &World, owner: &OwnerReference, namespace: &str) -> Owner {
    let Some(key) = owner_key(owner, namespace) else { return Owner::Present };
    match world.get(&key) {
        Some(found) if found.meta.uid == owner.uid => {
            let waiting = found.meta.deletion_timestamp.is_some() && has(&found, FOREGROUND);
            if waiting { Owner::Waiting } else { Owner::Present }
        }
        _ => Owner::Absent,
    }
}

fn follow_owners(world: &World, object: &Object) -> Result<Vec<Action>, Error> {
    let owners = &object.meta.owner_references;
    let stands: Vec<Owner> = owners.iter().map(|owner| stand(world, owner, &object.key.namespace)).collect();
    if owners.is_empty() || stands.iter().all(|stand| *stand == Owner::Present) {
        return Ok(Vec::new());
    }
    if stands.contains(&Owner::Present) {
        let kept = stands.iter().map(|stand| *stand == Owner::Present).collect::<Vec<_>>();
        return Ok(vec![keep_owners(object, &kept)?]);
    }
    let blocking = stands.contains(&Owner::Waiting) && !world.index().dependents(&object.meta.uid).is_empty();
    let propagation = if blocking { Propagation::Foreground } else { Propagation::Background };
    Ok(vec![delete(object, propagation)])
}

fn delete(object: &Object, propagation: Propagation) -> Action {
    let preconditions = Preconditions { uid: Some(object.meta.uid.clone()), ..Preconditions::default() };
    let options = DeleteOptions { propagation: Some(propagation), preconditions, ..DeleteOptions::default() };
    Action::Delete { key: object.key.clone(), options, announce: None }
}

/// Drops owner references; refused where the object changed meanwhile.
fn keep_owners(object: &Object, kept: &[bool]) -> Result<Action, Error> {
    let raw: Value = view(object)?;
    let all = raw["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    let left: Vec<Value> = all.into_iter().zip(kept).filter(|(_, keep)| **keep).map(|(owner, _)| owner).collect();
    let left = if left.is_empty() { Value::Null } else { json!(left) };
    let metadata = json!({"resourceVersion": object.revision.to_string(), "ownerReferences": left});
    Ok(Action::merge(&object.key, json!({"metadata": metadata})))
}

fn orphan_dependents(world: &World, owner: &Object) -> Result<Vec<Action>, Error> {
    let mut actions = Vec::new();
    for dependent in world.index().dependents(&owner.meta.uid) {
        let kept: Vec<bool> = dependent.meta.owner_references.iter().map(|found| found.uid != owner.meta.uid).collect();
        actions.push(keep_owners(&dependent, &kept)?);
    }
    actions.push(remove_finalizer(owner, ORPHAN));
    Ok(actions)
}

fn delete_dependents(world: &World, owner: &Object) -> Result<Vec<Action>, Error> {
    let dependents = world.index().dependents(&owner.meta.uid);
    let blocks = |dependent: &Object| {
        let owners = &dependent.meta.owner_references;
        owners.iter().any(|found| found.uid == owner.meta.uid && found.block_owner_deletion)
    };
    if !dependents.iter().any(|dependent| blocks(dependent)) {
        return Ok(vec![remove_finalizer(owner, FOREGROUND)]);
    }
    let mut actions = Vec::new();
    for dependent in dependents.iter().filter(|dependent| dependent.meta.deletion_timestamp.is_none()) {
        actions.extend(follow_owners(world, dependent)?);
    }
    Ok(actions)
}

fn remove_finalizer(object: &Object, finalizer: &str) -> Action {
    let left: Vec<&String> = object.meta.finalizers.iter().filter(|found| *found != finalizer).collect();
    let left = if left.is_empty() { Value::Null } else { json!(left) };
    let metadata = json!({"resourceVersion": object.revision.to_string(), "finalizers": left});
    Action::merge(&object.key, json!({"metadata": metadata}))
}
