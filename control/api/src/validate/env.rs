//! Environment variables and where they come from.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{get, list, text};

use super::check::{Errors, chosen, optional, required};

const ENV_SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const AMOUNTS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub(super) fn env(container: &Value, path: &str, wrong: &mut Errors) {
    for (at, variable) in list(container, "/env").iter().enumerate() {
        let path = format!("{path}.env[{at}]");
        required(variable, &path, "name", name::env_var, wrong);
        if let Some(source) = get(variable, "/valueFrom") {
            value_from(variable, source, &format!("{path}.valueFrom"), wrong);
        }
    }
    for (at, source) in list(container, "/envFrom").iter().enumerate() {
        let path = format!("{path}.envFrom[{at}]");
        optional(source, &path, "prefix", name::env_var, wrong);
        match chosen(source, &["configMapRef", "secretRef"]).as_slice() {
            [one] => required(&source[*one], &format!("{path}.{one}"), "name", name::dns_subdomain, wrong),
            [] => {
                let why = "must specify one of: `configMapRef` or `secretRef`";
                wrong.push(FieldError::invalid(path, &json!(""), why));
            }
            _ => wrong.push(FieldError::invalid(
                path,
                &json!(""),
                "may not have more than one field specified at a time",
            )),
        }
    }
}

fn value_from(variable: &Value, source: &Value, path: &str, wrong: &mut Errors) {
    let sources = chosen(source, &ENV_SOURCES);
    let why = match sources.len() {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        1 if !text(variable, "/value").is_empty() => "may not be specified when `value` is not empty",
        1 => "",
        _ => "may not have more than one field specified at a time",
    };
    if !why.is_empty() {
        wrong.push(FieldError::invalid(path, &json!(""), why));
    }
    for kind in sources {
        let (reference, path) = (&source[kind], format!("{path}.{kind}"));
        match kind {
            "fieldRef" => field_ref(reference, &path, &ENV_FIELDS, wrong),
            "resourceFieldRef" => amount_ref(reference, &path, wrong),
            "fileKeyRef" => wrong.push(FieldError::forbidden(path, "variables from files are not supported yet")),
            _ => required(reference, &path, "key", name::config_key, wrong),
        }
    }
}

/// A reference to one field of the pod, in a variable or in a volume.
fn field_ref(reference: &Value, path: &str, fields: &[&str], wrong: &mut Errors) {
    let field = format!("{path}.fieldPath");
    let wanted = text(reference, "/fieldPath");
    if wanted.is_empty() {
        wrong.push(FieldError::required(field, ""));
        return;
    }
    if let Some((owner, key)) = wanted.strip_suffix("']").and_then(|wanted| wanted.split_once("['")) {
        if !matches!(owner, "metadata.annotations" | "metadata.labels") {
            let why = format!("error converting fieldPath: field label does not support subscript: {owner}");
            wrong.push(FieldError::invalid(field, &json!(wanted), why));
        } else {
            for why in name::qualified(&key.to_lowercase()) {
                wrong.push(FieldError::invalid(&field, &json!(key), why));
            }
        }
        return;
    }
    if !fields.contains(&wanted) {
        let known = ENV_FIELDS.contains(&wanted) || VOLUME_FIELDS.contains(&wanted);
        wrong.push(if known {
            FieldError::not_supported(field, &json!(wanted), fields)
        } else {
            let why = format!("error converting fieldPath: field label not supported: {wanted}");
            FieldError::invalid(field, &json!(wanted), why)
        });
    }
}

fn amount_ref(reference: &Value, path: &str, wrong: &mut Errors) {
    match text(reference, "/resource") {
        "" => wrong.push(FieldError::required(format!("{path}.resource"), "")),
        known if AMOUNTS.contains(&known) => {}
        other => wrong.push(FieldError::not_supported(format!("{path}.resource"), &json!(other), &AMOUNTS)),
    }
}

/// The source of one file of a downwardAPI volume.
pub(super) fn file_source(item: &Value, path: &str, wrong: &mut Errors) {
    match (get(item, "/fieldRef"), get(item, "/resourceFieldRef")) {
        (Some(reference), None) => field_ref(reference, &format!("{path}.fieldRef"), &VOLUME_FIELDS, wrong),
        (None, Some(reference)) => {
            let path = format!("{path}.resourceFieldRef");
            required(reference, &path, "containerName", super::check::anything, wrong);
            amount_ref(reference, &path, wrong);
        }
        (Some(_), Some(_)) => {
            let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
            wrong.push(FieldError::invalid(path, &json!("resource"), why));
        }
        (None, None) => wrong.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required")),
    }
}
