//! What places a pod: tolerations, node selector, node affinity.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{get, list, text};

use super::check::{Errors, one_of, optional, required};
use super::meta;

pub(super) const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const OPERATORS: [&str; 2] = ["Equal", "Exists"];
const NODE_OPERATORS: [&str; 6] = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];

pub(super) fn scheduling(spec: &Value, path: &str, wrong: &mut Errors) {
    meta::labels(spec.get("nodeSelector"), &format!("{path}.nodeSelector"), wrong);
    for (at, toleration) in list(spec, "/tolerations").iter().enumerate() {
        tolerate(toleration, &format!("{path}.tolerations[{at}]"), wrong);
    }
    if let Some(affinity) = get(spec, "/affinity/nodeAffinity") {
        node_affinity(affinity, &format!("{path}.affinity.nodeAffinity"), wrong);
    }
}

fn tolerate(toleration: &Value, path: &str, wrong: &mut Errors) {
    let (key, operator) = (text(toleration, "/key"), text(toleration, "/operator"));
    let field = format!("{path}.operator");
    optional(toleration, path, "key", name::qualified, wrong);
    if key.is_empty() && operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        wrong.push(FieldError::invalid(&field, &json!(operator), why));
    }
    match operator {
        "" | "Equal" => optional(toleration, path, "value", name::label_value, wrong),
        "Exists" if !text(toleration, "/value").is_empty() => {
            let why = "value must be empty when `operator` is 'Exists'";
            wrong.push(FieldError::invalid(&field, toleration, why));
        }
        "Exists" => {}
        other => wrong.push(FieldError::not_supported(&field, &json!(other), &OPERATORS)),
    }
    if !text(toleration, "/effect").is_empty() {
        one_of(toleration, path, "effect", &EFFECTS, wrong);
    }
    if get(toleration, "/tolerationSeconds").is_some() && text(toleration, "/effect") != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        wrong.push(FieldError::invalid(format!("{path}.effect"), &json!(text(toleration, "/effect")), why));
    }
}

fn node_affinity(affinity: &Value, path: &str, wrong: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(wanted) = get(affinity, &format!("/{REQUIRED}")) {
        node_terms(wanted, &format!("{path}.{REQUIRED}"), wrong);
    }
    for (at, wanted) in list(affinity, &format!("/{PREFERRED}")).iter().enumerate() {
        let path = format!("{path}.{PREFERRED}[{at}]");
        let weight = wanted.get("weight").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=100).contains(&weight) {
            let why = "must be in the range 1-100";
            wrong.push(FieldError::invalid(format!("{path}.weight"), &json!(weight), why));
        }
        node_term(&wanted["preference"], &format!("{path}.preference"), wrong);
    }
}

/// A node selector: at least one term.
pub(super) fn node_terms(selector: &Value, path: &str, wrong: &mut Errors) {
    let path = format!("{path}.nodeSelectorTerms");
    let terms = list(selector, "/nodeSelectorTerms");
    if terms.is_empty() {
        wrong.push(FieldError::required(&path, "must have at least one node selector term"));
    }
    for (at, term) in terms.iter().enumerate() {
        node_term(term, &format!("{path}[{at}]"), wrong);
    }
}

fn node_term(term: &Value, path: &str, wrong: &mut Errors) {
    for (at, expression) in list(term, "/matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{at}]");
        required(expression, &path, "key", name::qualified, wrong);
        let (values, field) = (list(expression, "/values"), format!("{path}.values"));
        match text(expression, "/operator") {
            "In" | "NotIn" if values.is_empty() => {
                wrong.push(FieldError::required(field, "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                wrong.push(FieldError::forbidden(field, why));
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                wrong.push(FieldError::required(field, why));
            }
            known if NODE_OPERATORS.contains(&known) => {}
            other => {
                let why = "not a valid selector operator";
                wrong.push(FieldError::invalid(format!("{path}.operator"), &json!(other), why));
            }
        }
    }
    for (at, expression) in list(term, "/matchFields").iter().enumerate() {
        let path = format!("{path}.matchFields[{at}]");
        if text(expression, "/key") != "metadata.name" {
            let why = "not a valid field selector key";
            wrong.push(FieldError::invalid(format!("{path}.key"), &json!(text(expression, "/key")), why));
        }
        if !matches!(text(expression, "/operator"), "In" | "NotIn") {
            let operator = json!(text(expression, "/operator"));
            wrong.push(FieldError::invalid(format!("{path}.operator"), &operator, "not a valid selector operator"));
        }
    }
}
