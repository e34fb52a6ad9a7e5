//! A DaemonSet's templates as ControllerRevisions, which `kubectl rollout history` and `undo` read.

use std::collections::BTreeSet;
use std::sync::Arc;

use control_api::resource::CONTROLLER_REVISIONS;
use control_client::{DeleteOptions, Key, Object, Preconditions};
use serde_json::{Value, json};

use super::set::Set;
use crate::action::Action;
use crate::deployment::template_hash;
use crate::error::Error;
use crate::replica_set::{claim_objects, reference, selector};
use crate::world::view;

pub(super) const HASH_LABEL: &str = "controller-revision-hash";
/// Annotations of a DaemonSet that do not go to its revisions.
const NOT_COPIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const HISTORY_LIMIT: i32 = 10;

#[derive(Debug, Clone)]
pub(super) struct Revision {
    pub object: Arc<Object>,
    pub number: i64,
    pub hash: String,
}

/// Finds the present template's revision or asks for it to be made; false where its name is taken by another template
/// and the next reconcile has to try another one.
pub(super) fn settle(set: &mut Set) -> Result<bool, Error> {
    let data = data(&set.raw);
    let selector = selector(&set.object, &set.raw)?;
    let mut present: Option<Revision> = None;
    for object in claim_objects(&set.world, &CONTROLLER_REVISIONS, &set.object, &selector, &mut set.actions) {
        let raw: Value = view(&object)?;
        let hash = object.meta.labels.get(HASH_LABEL).cloned().unwrap_or_default();
        let revision = Revision { number: raw["revision"].as_i64().unwrap_or(0), hash, object };
        if raw["data"] == data && present.as_ref().is_none_or(|known| known.number < revision.number) {
            present = Some(revision.clone());
        }
        set.revisions.push(revision);
    }
    let newest = set.revisions.iter().map(|revision| revision.number).max().unwrap_or(0);
    if let Some(found) = present {
        set.hash.clone_from(&found.hash);
        if found.number < newest {
            // An old template is wanted again: it is the newest revision now.
            set.actions.push(Action::merge(&found.object.key, json!({"revision": newest + 1})));
        }
        return Ok(true);
    }
    let hash = template_hash(&set.raw["spec"]["template"], set.collisions);
    let name = format!("{}-{hash}", set.object.key.name);
    let key = Key::new(&CONTROLLER_REVISIONS, &set.object.key.namespace, &name);
    if set.world.get(&key).is_some() {
        set.collisions += 1;
        return Ok(false);
    }
    set.hash.clone_from(&hash);
    let object = new_revision(set, &name, newest + 1, &data);
    let namespace = set.object.key.namespace.to_string();
    set.actions.push(Action::Create { resource: &CONTROLLER_REVISIONS, namespace, object, announce: None });
    Ok(true)
}

/// What `kubectl rollout undo` sends as a patch.
fn data(raw: &Value) -> Value {
    let mut template = raw["spec"]["template"].clone();
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

fn new_revision(set: &Set, name: &str, number: i64, data: &Value) -> Value {
    let mut labels = set.raw["spec"]["template"]["metadata"]["labels"].clone();
    labels[HASH_LABEL] = json!(set.hash);
    let mut annotations = set.raw["metadata"]["annotations"].clone();
    if let Some(all) = annotations.as_object_mut() {
        all.remove(NOT_COPIED);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": name, "namespace": &*set.object.key.namespace, "labels": labels, "annotations": annotations,
            "ownerReferences": [reference(&set.object)],
        },
        "data": data, "revision": number,
    })
}

/// Deletes the oldest revisions beyond the limit, apart from those that pods still carry.
pub(super) fn clean(set: &mut Set) {
    let limit = set.spec.revision_history_limit.unwrap_or(HISTORY_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(0);
    let mut live: BTreeSet<&str> = BTreeSet::from([set.hash.as_str()]);
    let pods = set.pods.values().flatten();
    live.extend(pods.filter_map(|owned| owned.object.meta.labels.get(HASH_LABEL).map(String::as_str)));
    let mut old: Vec<&Revision> = set.revisions.iter().filter(|one| !live.contains(one.hash.as_str())).collect();
    old.sort_by_key(|revision| revision.number);
    let surplus = old.len().saturating_sub(limit);
    let deletions: Vec<Action> = old.into_iter().take(surplus).map(delete).collect();
    set.actions.extend(deletions);
}

fn delete(revision: &Revision) -> Action {
    let preconditions = Preconditions { uid: Some(revision.object.meta.uid.clone()), ..Preconditions::default() };
    let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
    Action::Delete { key: revision.object.key.clone(), options, announce: None }
}
