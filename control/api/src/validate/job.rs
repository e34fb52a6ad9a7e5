//! Jobs.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::object::{flag, get, integer, map, text};
use crate::selector::LabelSelector;
use crate::strategy::{CONTROLLER_UID_LABEL, JOB_NAME_LABEL, OLD_NAME_LABEL, OLD_UID_LABEL};

use super::check::{Errors, immutable, not_negative, one_of};
use super::{selector, workload};

const INDEXED_PARALLELISM_MAX: i64 = 100_000;
const MODES: [&str; 2] = ["Indexed", "NonIndexed"];
const REPLACEMENTS: [&str; 2] = ["Failed", "TerminatingOrFailed"];
const OWN_CONTROLLER: &str = "kubernetes.io/job-controller";

/// What Kubernetes has and the Job controller here does not do yet. To support a field, delete its line.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("podFailurePolicy", "a pod failure policy is not supported yet"),
    ("successPolicy", "a success policy is not supported yet"),
    ("backoffLimitPerIndex", "a backoff limit of each index is not supported yet"),
    ("maxFailedIndexes", "a backoff limit of each index is not supported yet"),
];

pub(super) fn create(object: &Value, wrong: &mut Errors) {
    let Some(spec) = get(object, "/spec") else { return wrong.push(FieldError::required("spec", "")) };
    for key in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        not_negative(spec, "spec", key, wrong);
    }
    one_of(spec, "spec", "completionMode", &MODES, wrong);
    one_of(spec, "spec", "podReplacementPolicy", &REPLACEMENTS, wrong);
    if text(spec, "/completionMode") == "Indexed" {
        indexed(spec, wrong);
    }
    for (key, why) in UNSUPPORTED {
        if get(spec, &format!("/{key}")).is_some() {
            wrong.push(FieldError::forbidden(format!("spec.{key}"), why));
        }
    }
    if !matches!(text(spec, "/managedBy"), "" | OWN_CONTROLLER) {
        let why = "Jobs that another controller manages are not supported yet";
        wrong.push(FieldError::forbidden("spec.managedBy", why));
    }
    if get(spec, "/template").is_none() {
        return wrong.push(FieldError::required("spec.template", ""));
    }
    generated(object, wrong);
    match get(spec, "/selector") {
        None => wrong.push(FieldError::required("spec.selector", "")),
        Some(found) => {
            selector::selector(found, "spec.selector", wrong);
            match LabelSelector::from_value(found) {
                Err(_) => wrong.push(FieldError::invalid("spec.selector", found, "invalid label selector")),
                Ok(selector) => {
                    workload::pods(object, &selector, wrong);
                }
            }
        }
    }
    restart_policy(spec, wrong);
}

fn restart_policy(spec: &Value, wrong: &mut Errors) {
    const FIELD: &str = "spec.template.spec.restartPolicy";
    match text(spec, "/template/spec/restartPolicy") {
        "OnFailure" | "Never" => {}
        "" | "Always" => wrong.push(FieldError::required(FIELD, "valid values: \"OnFailure\", \"Never\"")),
        other => wrong.push(FieldError::not_supported(FIELD, &json!(other), &["OnFailure", "Never"])),
    }
}

fn indexed(spec: &Value, wrong: &mut Errors) {
    if get(spec, "/completions").is_none() {
        wrong.push(FieldError::required("spec.completions", "when completion mode is Indexed"));
    }
    if let Some(many) = integer(spec, "/parallelism").filter(|many| *many > INDEXED_PARALLELISM_MAX) {
        let why = format!("must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is Indexed");
        wrong.push(FieldError::invalid("spec.parallelism", &json!(many), why));
    }
}

/// Labels and selector that the server made must be as it made them.
fn generated(object: &Value, wrong: &mut Errors) {
    if flag(object, "/spec/manualSelector") {
        return;
    }
    let (name, uid) = (text(object, "/metadata/name"), text(object, "/metadata/uid"));
    let labels = map(object, "/spec/template/metadata/labels");
    let own = [(OLD_UID_LABEL, uid), (OLD_NAME_LABEL, name), (CONTROLLER_UID_LABEL, uid), (JOB_NAME_LABEL, name)];
    for (key, wanted) in own {
        let field = format!("spec.template.metadata.labels[{key}]");
        let why = format!("must be '{wanted}'");
        match labels.and_then(|labels| labels.get(key)) {
            None => wrong.push(FieldError::required(field, why)),
            Some(found) if found != wanted => wrong.push(FieldError::invalid(field, &json!(labels), why)),
            Some(_) => {}
        }
    }
    let expected = own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let Some(found) = get(object, "/spec/selector") else { return };
    if LabelSelector::from_value(found).is_ok_and(|selector| !selector.matches(&expected)) {
        wrong.push(FieldError::invalid("spec.selector", found, "`selector` not auto-generated"));
    }
}

pub(super) fn update(new: &Value, old: &Value, wrong: &mut Errors) {
    let field = |object, key: &str| get(object, &format!("/spec/{key}")).cloned();
    for key in ["selector", "completionMode", "manualSelector"] {
        immutable(&format!("spec.{key}"), field(new, key).as_ref(), field(old, key).as_ref(), wrong);
    }
    // An indexed Job may grow or shrink where both numbers go together.
    let elastic =
        text(new, "/spec/completionMode") == "Indexed" && field(new, "completions") == field(new, "parallelism");
    if !elastic {
        immutable("spec.completions", field(new, "completions").as_ref(), field(old, "completions").as_ref(), wrong);
    }
    let (mut after, before) = (field(new, "template"), field(old, "template"));
    let waiting = flag(old, "/spec/suspend") && get(old, "/status/startTime").is_none();
    if let (true, Some(after), Some(before)) = (waiting, after.as_mut(), before.as_ref()) {
        scheduling_of(after, before);
    }
    if after != before {
        let shown = field(new, "template").unwrap_or(Value::Null);
        wrong.push(FieldError::invalid("spec.template", &shown, "field is immutable"));
    }
}

/// Puts back what a suspended Job that never started may change: where its pods go.
fn scheduling_of(after: &mut Value, before: &Value) {
    for key in ["annotations", "labels"] {
        let value = before.pointer(&format!("/metadata/{key}")).cloned();
        if let Some(metadata) = crate::object::child(after, "metadata") {
            crate::object::put(metadata, key, value);
        }
    }
    for key in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
        let value = before.pointer(&format!("/spec/{key}")).cloned();
        if let Some(spec) = crate::object::child(after, "spec") {
            crate::object::put(spec, key, value);
        }
    }
}

pub(super) fn status(object: &Value, wrong: &mut Errors) {
    let Some(status) = get(object, "/status") else { return };
    for key in ["active", "succeeded", "failed", "ready", "terminating"] {
        not_negative(status, "status", key, wrong);
    }
}
