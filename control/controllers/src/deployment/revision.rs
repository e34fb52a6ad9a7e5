//! Which set is the present one, and its revision.

use std::collections::BTreeMap;

use control_api::resource::REPLICA_SETS;
use control_client::{About, EventType, Key};
use serde_json::{Value, json};

use super::condition::{self, Found};
use super::hash::template_hash;
use super::rolling::new_replicas;
use super::rollout::Rollout;
use super::set::{DESIRED_REPLICAS, HASH_LABEL, MAX_REPLICAS, REVISION, REVISION_HISTORY};
use super::status;
use crate::action::Action;
use crate::replica_set::reference;

/// Annotations of a Deployment that do not go to its sets.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];
/// Revisions remembered in one set's `revision-history`.
const REVISION_HISTORY_BYTES_MAX: usize = 2000;

fn next_revision(rollout: &Rollout) -> i64 {
    rollout.old.iter().map(super::set::Set::revision).max().unwrap_or(0) + 1
}

/// Gives the present set, where it is there, the newest revision and the Deployment's annotations.
pub(super) fn adopt(rollout: &mut Rollout) {
    let revision = next_revision(rollout);
    let copied = copied_annotations(rollout);
    let ready_seconds_min = rollout.spec.min_ready_seconds.unwrap_or(0);
    let Some(set) = rollout.new.as_mut() else { return };
    let mut changed: BTreeMap<String, String> =
        copied.into_iter().filter(|(name, value)| set.annotations.get(name) != Some(value)).collect();
    let current = set.revision();
    if current < revision {
        changed.insert(REVISION.to_owned(), revision.to_string());
        if current > 0 {
            let past = set.annotations.get(REVISION_HISTORY).cloned().unwrap_or_default();
            changed.insert(REVISION_HISTORY.to_owned(), remember(&past, current));
        }
    }
    let spec_changed = set.ready_seconds_min != ready_seconds_min;
    if !changed.is_empty() || spec_changed {
        let mut patch = json!({"metadata": {"annotations": changed}});
        if spec_changed {
            patch["spec"] = json!({"minReadySeconds": ready_seconds_min});
        }
        rollout.actions.push(Action::merge(&set.object.key, patch));
        set.annotations.extend(changed);
    }
    let (name, revision) = (set.name().to_owned(), set.revision());
    condition::note_set(rollout, &name, Found::Existing);
    tell_deployment(rollout, revision);
}

/// The same, and makes the set where it is not there; then this reconcile is over, and true is returned.
pub(super) fn adopt_or_create(rollout: &mut Rollout) -> bool {
    if rollout.new.is_some() {
        adopt(rollout);
        return false;
    }
    create(rollout);
    true
}

fn create(rollout: &mut Rollout) {
    let name = free_name(rollout);
    let Some((name, hash)) = name else {
        // The name is taken by a set of another template: the next reconcile hashes with the raised count.
        rollout.collisions += 1;
        status::sync(rollout);
        return;
    };
    let revision = next_revision(rollout);
    let replicas = new_replicas(rollout);
    let mut annotations = copied_annotations(rollout);
    annotations.insert(REVISION.to_owned(), revision.to_string());
    annotations.insert(DESIRED_REPLICAS.to_owned(), rollout.replicas().to_string());
    annotations.insert(MAX_REPLICAS.to_owned(), (rollout.replicas() + rollout.surge_max()).to_string());
    let object = new_set(rollout, &name, &hash, replicas, &annotations);
    let namespace = rollout.object.key.namespace.to_string();
    rollout.actions.push(Action::Create { resource: &REPLICA_SETS, namespace, object, announce: None });
    if replicas > 0 {
        rollout.actions.push(Action::Event {
            about: About::from(&*rollout.object),
            kind: EventType::Normal,
            reason: "ScalingReplicaSet",
            message: format!("Scaled up replica set {name} from 0 to {replicas}"),
        });
    }
    condition::note_set(rollout, &name, Found::Created);
    tell_deployment(rollout, revision);
    status::write(rollout);
}

fn free_name(rollout: &Rollout) -> Option<(String, String)> {
    let hash = template_hash(&rollout.template, rollout.collisions);
    let name = format!("{}-{hash}", rollout.name());
    let taken = rollout.sets().any(|set| set.name() == name) || rollout.is_taken(&name);
    (!taken).then_some((name, hash))
}

fn new_set(rollout: &Rollout, name: &str, hash: &str, replicas: i32, annotations: &BTreeMap<String, String>) -> Value {
    let mut template = rollout.template.clone();
    template["metadata"]["labels"][HASH_LABEL] = json!(hash);
    let mut selector = rollout.raw["spec"]["selector"].clone();
    selector["matchLabels"][HASH_LABEL] = json!(hash);
    let mut spec = json!({"replicas": replicas, "selector": selector, "template": template});
    if let Some(seconds) = rollout.spec.min_ready_seconds.filter(|seconds| *seconds > 0) {
        spec["minReadySeconds"] = json!(seconds);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": &*rollout.object.key.namespace, "labels": template_labels(&spec),
            "annotations": annotations, "ownerReferences": [reference(&rollout.object)],
        },
        "spec": spec,
    })
}

fn template_labels(spec: &Value) -> Value {
    spec["template"]["metadata"]["labels"].clone()
}

fn copied_annotations(rollout: &Rollout) -> BTreeMap<String, String> {
    let all = rollout.deployment.metadata.annotations.clone().unwrap_or_default();
    all.into_iter().filter(|(name, _)| !NOT_COPIED.contains(&name.as_str())).collect()
}

fn tell_deployment(rollout: &mut Rollout, revision: i64) {
    let current = rollout.deployment.metadata.annotations.as_ref().and_then(|all| all.get(REVISION));
    if current.map(String::as_str) != Some(&revision.to_string()) {
        let patch = json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
        rollout.actions.push(Action::merge(&rollout.object.key.clone(), patch));
    }
}

/// Appends a revision, dropping the oldest where the list grows too long.
fn remember(past: &str, revision: i64) -> String {
    let mut list = if past.is_empty() { revision.to_string() } else { format!("{past},{revision}") };
    while list.len() > REVISION_HISTORY_BYTES_MAX {
        let Some((_, rest)) = list.split_once(',') else { break };
        list = rest.to_owned();
    }
    list
}

impl Rollout {
    /// A ReplicaSet of that name is there and is not ours.
    fn is_taken(&self, name: &str) -> bool {
        let key = Key::new(&REPLICA_SETS, &self.object.key.namespace, name);
        self.world.get(&key).is_some()
    }
}
