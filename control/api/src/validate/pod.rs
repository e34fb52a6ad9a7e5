//! Pods: create, and the few fields that an update may change.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::object::{get, integer, list, text};

use super::check::Errors;
use super::spec;

const FEW_FIELDS: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn create(object: &Value, wrong: &mut Errors) {
    spec::spec(object.get("spec").unwrap_or(&Value::Null), "spec", wrong);
}

pub(super) fn update(new: &Value, old: &Value, wrong: &mut Errors) {
    let (Some(new), Some(old)) = (get(new, "/spec"), get(old, "/spec")) else { return };
    if new == old {
        return;
    }
    for key in ["containers", "initContainers"] {
        if list(new, &format!("/{key}")).len() != list(old, &format!("/{key}")).len() {
            let why = "pod updates may not add or remove containers";
            wrong.push(FieldError::forbidden(format!("spec.{key}"), why));
            return;
        }
    }
    deadline(new, old, wrong);
    tolerations(new, old, wrong);
    let (mut munged, old) = (new.clone(), old);
    restore(&mut munged, old);
    if munged != *old {
        let changed = changed_fields(&munged, old);
        wrong.push(FieldError::forbidden("spec", format!("{FEW_FIELDS}\nchanged: {}", changed.join(", "))));
    }
}

/// Puts back what an update may change, so that what still differs is forbidden.
fn restore(munged: &mut Value, old: &Value) {
    for key in ["containers", "initContainers"] {
        let before = list(old, &format!("/{key}"));
        let after = munged.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, before) in after.zip(before) {
            put_back(container, before, "image");
        }
    }
    put_back(munged, old, "activeDeadlineSeconds");
    put_back(munged, old, "tolerations");
    let negative = integer(old, "/terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0);
    if negative && integer(munged, "/terminationGracePeriodSeconds") == Some(1) {
        put_back(munged, old, "terminationGracePeriodSeconds");
    }
}

fn put_back(object: &mut Value, old: &Value, key: &str) {
    crate::object::put(object, key, old.get(key).cloned());
}

fn changed_fields(new: &Value, old: &Value) -> Vec<String> {
    let keys = |spec: &Value| spec.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    let mut names = keys(new);
    names.extend(keys(old));
    names.sort();
    names.dedup();
    names.retain(|key| new.get(key) != old.get(key));
    names.into_iter().map(|key| format!("spec.{key}")).collect()
}

fn deadline(new: &Value, old: &Value, wrong: &mut Errors) {
    let field = "spec.activeDeadlineSeconds";
    let seconds = |spec| integer(spec, "/activeDeadlineSeconds");
    match (seconds(new), seconds(old)) {
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            wrong.push(FieldError::invalid(field, &Value::Null, why));
        }
        (Some(after), Some(before)) if after > before => {
            wrong.push(FieldError::invalid(field, &json!(after), "must be less than or equal to previous value"));
        }
        _ => {}
    }
}

/// Every old toleration is still there, but for how long it holds.
fn tolerations(new: &Value, old: &Value, wrong: &mut Errors) {
    let same = |one: &Value, two: &Value| {
        ["key", "operator", "value", "effect"].iter().all(|key| {
            let pointer = format!("/{key}");
            text(one, &pointer) == text(two, &pointer)
        })
    };
    let kept = |before: &Value| list(new, "/tolerations").iter().any(|after| same(before, after));
    if !list(old, "/tolerations").iter().all(kept) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        wrong.push(FieldError::forbidden("spec.tolerations", why));
    }
}
