//! Delete: at once, after a pod's grace, or once the finalizers are gone.

use control_api::resource::{NAMESPACES, PODS};
use control_api::{Resource, Status};
use control_store::Object;
use serde_json::{Value, json};

use super::commit::{Intent, Outcome, commit};
use super::update::is_finished;
use super::{ATTEMPTS_MAX, Ask, identity};
use crate::api::Api;
use crate::call::{DeleteOptions, Preconditions, Propagation, Reply};
use crate::negotiate::parse;
use crate::{admit, clock};

/// A pod's grace where its spec does not say.
const GRACE_SECONDS: i64 = 30;
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

pub async fn delete(api: &Api, mut ask: Ask, options: &DeleteOptions) -> Result<Reply, Status> {
    admit::delete(ask.resource, &ask.name)?;
    ask.deletes = true;
    let key = ask.key();
    for _ in 0..ATTEMPTS_MAX {
        let current = api.store().get(&key).ok_or_else(|| Status::not_found(ask.resource, &ask.name))?;
        check(&ask, &current, &options.preconditions)?;
        let old = parse(&current)?;
        let new = marked(ask.resource, &old, options)?;
        let removes = is_finished(&ask, &new);
        if !removes && new == old {
            return Ok(Reply::Object { object: current, created: false, warnings: Vec::new() });
        }
        let intent = if removes {
            // Watchers see the object as it was; its mark lives for no revision of its own.
            Intent::Remove { last: if ask.resource == &PODS { &new } else { &old }, revision: current.revision }
        } else {
            Intent::Replace { old: &old, new: &new, revision: current.revision }
        };
        match commit(api, &ask, intent, None).await? {
            Outcome::Done(object) if removes && ask.resource != &PODS => return Ok(gone(&object)),
            Outcome::Done(object) => return Ok(Reply::Object { object, created: false, warnings: Vec::new() }),
            Outcome::Lost => {}
        }
    }
    Err(Status::modified(ask.resource, &ask.name))
}

/// The answer to a deletion that is complete.
fn gone(object: &Object) -> Reply {
    let resource = object.key.resource;
    let mut details = json!({"name": &*object.key.name, "kind": resource.plural, "uid": object.meta.uid});
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    let value = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    Reply::Value { value, created: false, warnings: Vec::new() }
}

fn check(ask: &Ask, current: &Object, wanted: &Preconditions) -> Result<(), Status> {
    if let Some(uid) = wanted.uid.as_ref().filter(|uid| **uid != current.meta.uid) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            current.meta.uid
        );
        return Err(Status::conflict(ask.resource, &ask.name, &why));
    }
    let revision = current.revision.to_string();
    if let Some(version) = wanted.resource_version.as_ref().filter(|version| **version != revision) {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record \
             ({revision}). The object might have been modified"
        );
        return Err(Status::conflict(ask.resource, &ask.name, &why));
    }
    Ok(())
}

/// How long this object may take to go: only pods on a node, that still run, have a grace.
fn grace_seconds(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    if resource != &PODS {
        return 0;
    }
    let placed = object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let over = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !placed || over {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64();
    match options.grace_period_seconds.or(own).unwrap_or(GRACE_SECONDS) {
        // A negative grace is the shortest one, as Kubernetes has it.
        seconds if seconds < 0 => 1,
        seconds => seconds,
    }
}

/// The object with its deletion asked for.
fn marked(resource: &Resource, old: &Value, options: &DeleteOptions) -> Result<Value, Status> {
    let mut new = old.clone();
    let grace = grace_seconds(resource, old, options);
    let metadata = identity::metadata(&mut new)?;
    if let Some(propagation) = options.propagation {
        let mut finalizers = metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
        let wanted = match propagation {
            Propagation::Background => None,
            Propagation::Foreground => Some(FOREGROUND),
            Propagation::Orphan => Some(ORPHAN),
        };
        finalizers.retain(|name| (name != FOREGROUND && name != ORPHAN) || name.as_str() == wanted);
        if let Some(wanted) = wanted.filter(|wanted| !finalizers.iter().any(|name| name == wanted)) {
            finalizers.push(json!(wanted));
        }
        if finalizers.is_empty() {
            metadata.shift_remove("finalizers");
        } else {
            metadata.insert("finalizers".to_owned(), finalizers.into());
        }
    }
    let remaining = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    if !metadata.contains_key("deletionTimestamp") {
        metadata.insert("deletionTimestamp".to_owned(), json!(clock::after(grace)));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".to_owned(), json!(generation + 1));
        }
    } else if grace < remaining {
        // A second deletion may only shorten the first one's grace.
        metadata.insert("deletionTimestamp".to_owned(), json!(clock::after(grace)));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    }
    if resource == &NAMESPACES {
        new["status"]["phase"] = json!("Terminating");
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 5}, "status": {}})
    }

    #[test]
    fn a_second_deletion_only_shortens_the_grace() {
        let first = marked(&PODS, &running(), &DeleteOptions::default()).expect("marks");
        assert_eq!(first["metadata"]["deletionGracePeriodSeconds"], 5);
        let longer = DeleteOptions { grace_period_seconds: Some(60), ..DeleteOptions::default() };
        assert_eq!(marked(&PODS, &first, &longer).expect("marks"), first);
        let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        assert_eq!(marked(&PODS, &first, &now).expect("marks")["metadata"]["deletionGracePeriodSeconds"], 0);
    }

    #[test]
    fn a_pod_without_a_node_has_no_grace() {
        let pod = json!({"metadata": {"name": "a"}, "spec": {}});
        assert_eq!(grace_seconds(&PODS, &pod, &DeleteOptions::default()), 0);
    }

    #[test]
    fn a_propagation_replaces_the_other_ones_finalizer() {
        let object = json!({"metadata": {"name": "a", "finalizers": ["orphan", "x"]}});
        let options = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
        let new = marked(&NAMESPACES, &object, &options).expect("marks");
        assert_eq!(new["metadata"]["finalizers"], json!(["x", "foregroundDeletion"]));
    }
}
