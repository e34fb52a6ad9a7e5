//! Deployments, ReplicaSets and DaemonSets.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::object::{get, integer, map, text};
use crate::selector::LabelSelector;

use super::check::{Errors, immutable, not_negative};
use super::{meta, selector, spec};

const TEMPLATE: &str = "spec.template";
const ROLLING: &str = "spec.strategy.rollingUpdate";

pub(super) fn deployment(object: &Value, wrong: &mut Errors) {
    let Some(spec) = get(object, "/spec") else { return wrong.push(FieldError::required("spec", "")) };
    shared(object, spec, "Deployment", wrong);
    for key in ["revisionHistoryLimit", "progressDeadlineSeconds"] {
        not_negative(spec, "spec", key, wrong);
    }
    let ready = integer(spec, "/minReadySeconds").unwrap_or(0);
    if let Some(deadline) = integer(spec, "/progressDeadlineSeconds").filter(|deadline| *deadline <= ready) {
        let why = "must be greater than minReadySeconds";
        wrong.push(FieldError::invalid("spec.progressDeadlineSeconds", &json!(deadline), why));
    }
    strategy(spec, wrong);
}

pub(super) fn replica_set(object: &Value, wrong: &mut Errors) {
    let Some(spec) = get(object, "/spec") else { return wrong.push(FieldError::required("spec", "")) };
    shared(object, spec, "ReplicaSet", wrong);
}

pub(super) fn replication_controller(object: &Value, wrong: &mut Errors) {
    let Some(spec) = get(object, "/spec") else { return wrong.push(FieldError::required("spec", "")) };
    not_negative(spec, "spec", "replicas", wrong);
    not_negative(spec, "spec", "minReadySeconds", wrong);
    if map(spec, "/selector").is_none_or(|labels| labels.is_empty()) {
        wrong.push(FieldError::required("spec.selector", ""));
    }
    let found = json!({"matchLabels": get(spec, "/selector")});
    match LabelSelector::from_value(&found) {
        Err(_) => wrong.push(FieldError::invalid("spec.selector", &found["matchLabels"], "invalid label selector")),
        Ok(selector) => template(object, &selector, "ReplicationController", wrong),
    }
}

pub(super) fn update(new: &Value, old: &Value, wrong: &mut Errors) {
    immutable("spec.selector", get(new, "/spec/selector"), get(old, "/spec/selector"), wrong);
}

pub(super) fn status(object: &Value, wrong: &mut Errors) {
    let Some(status) = get(object, "/status") else { return };
    for key in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"] {
        not_negative(status, "status", key, wrong);
    }
    let count = |key: &str| integer(status, &format!("/{key}")).unwrap_or(0);
    for key in ["updatedReplicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas"] {
        if count(key) > count("replicas") {
            let why = "cannot be greater than status.replicas";
            wrong.push(FieldError::invalid(format!("status.{key}"), &json!(count(key)), why));
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        let why = "cannot be greater than readyReplicas";
        wrong.push(FieldError::invalid("status.availableReplicas", &json!(count("availableReplicas")), why));
    }
}

pub(super) fn daemon_set(object: &Value, wrong: &mut Errors) {
    let Some(spec) = get(object, "/spec") else { return wrong.push(FieldError::required("spec", "")) };
    shared(object, spec, "DaemonSet", wrong);
    not_negative(spec, "spec", "revisionHistoryLimit", wrong);
    match text(spec, "/updateStrategy/type") {
        "OnDelete" => {}
        "RollingUpdate" => node_by_node(spec, wrong),
        other => {
            let words = ["OnDelete", "RollingUpdate"];
            wrong.push(FieldError::not_supported("spec.updateStrategy.type", &json!(other), &words));
        }
    }
}

pub(super) fn daemon_set_status(object: &Value, wrong: &mut Errors) {
    let Some(status) = get(object, "/status") else { return };
    for key in [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ] {
        not_negative(status, "status", key, wrong);
    }
}

pub(super) fn controller_revision(object: &Value, wrong: &mut Errors) {
    if get(object, "/data").is_none() {
        wrong.push(FieldError::required("data", "data is mandatory"));
    }
    if let Some(revision) = integer(object, "/revision").filter(|revision| *revision < 0) {
        let why = "must be greater than or equal to 0";
        wrong.push(FieldError::invalid("revision", &json!(revision), why));
    }
}

pub(super) fn controller_revision_update(new: &Value, old: &Value, wrong: &mut Errors) {
    immutable("data", get(new, "/data"), get(old, "/data"), wrong);
}

/// Either some nodes go without, or some run two.
fn node_by_node(spec: &Value, wrong: &mut Errors) {
    const PATH: &str = "spec.updateStrategy.rollingUpdate";
    let share = |key: &str| get(spec, &format!("/updateStrategy/rollingUpdate/{key}"));
    let unavailable = int_or_percent(share("maxUnavailable"), PATH, "maxUnavailable", wrong);
    let surge = int_or_percent(share("maxSurge"), PATH, "maxSurge", wrong);
    match (unavailable, surge) {
        (Some(0) | None, Some(0) | None) => {
            let why = "cannot be 0 when maxSurge is 0";
            let value = share("maxUnavailable").unwrap_or(&Value::Null);
            wrong.push(FieldError::invalid(format!("{PATH}.maxUnavailable"), value, why));
        }
        (Some(1..), Some(1..)) => {
            let why = "may not be set when maxUnavailable is non-zero";
            let value = share("maxSurge").unwrap_or(&Value::Null);
            wrong.push(FieldError::invalid(format!("{PATH}.maxSurge"), value, why));
        }
        _ => {}
    }
}

fn shared(object: &Value, spec: &Value, kind: &str, wrong: &mut Errors) {
    not_negative(spec, "spec", "replicas", wrong);
    not_negative(spec, "spec", "minReadySeconds", wrong);
    match get(spec, "/selector") {
        None => wrong.push(FieldError::required("spec.selector", "")),
        Some(found) => {
            selector::selector(found, "spec.selector", wrong);
            if selector::is_empty(found) {
                let what = if kind == "DaemonSet" { "daemonset" } else { "deployment" };
                let why = format!("empty selector is invalid for {what}");
                wrong.push(FieldError::invalid("spec.selector", found, why));
            }
            match LabelSelector::from_value(found) {
                Err(_) => wrong.push(FieldError::invalid("spec.selector", found, "invalid label selector")),
                Ok(selector) => template(object, &selector, kind, wrong),
            }
        }
    }
}

fn template(object: &Value, selector: &LabelSelector, kind: &str, wrong: &mut Errors) {
    let Some(pod_spec) = pods(object, selector, wrong) else { return };
    let policy = text(pod_spec, "/restartPolicy");
    if matches!(policy, "OnFailure" | "Never") {
        let field = format!("{TEMPLATE}.spec.restartPolicy");
        wrong.push(FieldError::not_supported(field, &json!(policy), &["Always"]));
    }
    if get(pod_spec, "/activeDeadlineSeconds").is_some() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        wrong.push(FieldError::forbidden(format!("{TEMPLATE}.spec.activeDeadlineSeconds"), why));
    }
}

/// The template of pods that `selector` must match; its pod spec.
pub(super) fn pods<'a>(object: &'a Value, selector: &LabelSelector, wrong: &mut Errors) -> Option<&'a Value> {
    let Some(template) = get(object, "/spec/template") else {
        wrong.push(FieldError::required(TEMPLATE, ""));
        return None;
    };
    let labels = get(template, "/metadata/labels");
    if !selector.matches(&meta::label_map(template, "/metadata/labels")) {
        let why = "`selector` does not match template `labels`";
        let shown = labels.cloned().unwrap_or(Value::Null);
        wrong.push(FieldError::invalid(format!("{TEMPLATE}.metadata.labels"), &shown, why));
    }
    meta::labels(labels, &format!("{TEMPLATE}.labels"), wrong);
    meta::annotations(get(template, "/metadata/annotations"), &format!("{TEMPLATE}.annotations"), wrong);
    let pod_spec = get(template, "/spec").unwrap_or(&Value::Null);
    spec::spec(pod_spec, &format!("{TEMPLATE}.spec"), wrong);
    Some(pod_spec)
}

fn strategy(spec: &Value, wrong: &mut Errors) {
    match text(spec, "/strategy/type") {
        "Recreate" => {
            if get(spec, "/strategy/rollingUpdate").is_some() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                wrong.push(FieldError::forbidden(ROLLING, why));
            }
        }
        "RollingUpdate" => {
            let share = |key: &str| get(spec, &format!("/strategy/rollingUpdate/{key}"));
            let unavailable = int_or_percent(share("maxUnavailable"), ROLLING, "maxUnavailable", wrong);
            let surge = int_or_percent(share("maxSurge"), ROLLING, "maxSurge", wrong);
            if (unavailable, surge) == (Some(0), Some(0)) {
                let value = share("maxUnavailable").unwrap_or(&Value::Null);
                let why = "may not be 0 when `maxSurge` is 0";
                wrong.push(FieldError::invalid(format!("{ROLLING}.maxUnavailable"), value, why));
            }
            if unavailable.is_some_and(|share| share > 100) && share("maxUnavailable").is_some_and(Value::is_string) {
                let value = share("maxUnavailable").unwrap_or(&Value::Null);
                let why = "must not be greater than 100%";
                wrong.push(FieldError::invalid(format!("{ROLLING}.maxUnavailable"), value, why));
            }
        }
        other => {
            let words = ["Recreate", "RollingUpdate"];
            wrong.push(FieldError::not_supported("spec.strategy.type", &json!(other), &words));
        }
    }
}

/// The number in `5` or `25%`; complains about anything else.
fn int_or_percent(value: Option<&Value>, path: &str, key: &str, wrong: &mut Errors) -> Option<i64> {
    let field = format!("{path}.{key}");
    let value = value?;
    let number = match value {
        Value::String(text) => text.strip_suffix('%').and_then(|digits| digits.parse::<u32>().ok()).map(i64::from),
        other => other.as_i64(),
    };
    let why = match number {
        Some(number) if number >= 0 => return Some(number),
        Some(_) => "must be greater than or equal to 0",
        None => {
            "a valid percent string must be a numeric followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
        }
    };
    wrong.push(FieldError::invalid(field, value, why));
    None
}
