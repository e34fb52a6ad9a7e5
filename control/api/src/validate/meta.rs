//! Metadata: what every kind shares.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{flag, get, list, map, text};
use crate::resource::Resource;

use super::check::{Errors, Rule, immutable, rule};

/// Bytes of all annotations of an object together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn name_rule(resource: &Resource) -> Rule {
    match resource.kind {
        "Namespace" => name::dns_label,
        "Service" => name::dns_1035_label,
        "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" | "CertificateSigningRequest" => {
            name::path_segment
        }
        _ => name::dns_subdomain,
    }
}

pub(super) fn create(resource: &Resource, object: &Value, wrong: &mut Errors) {
    let (given, prefix) = (text(object, "/metadata/name"), text(object, "/metadata/generateName"));
    let name_rule = name_rule(resource);
    if !prefix.is_empty() {
        // The suffix that the server adds makes an ending dash or dot legal.
        let probe = format!("{}a", prefix);
        for why in name_rule(&probe) {
            wrong.push(FieldError::invalid("metadata.generateName", &json!(prefix), why));
        }
    }
    if given.is_empty() {
        wrong.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        rule("metadata.name", given, name_rule, wrong);
    }
    let namespace = text(object, "/metadata/namespace");
    match (resource.namespaced(), namespace.is_empty()) {
        (true, true) => wrong.push(FieldError::required("metadata.namespace", "")),
        (true, false) => rule("metadata.namespace", namespace, name::dns_label, wrong),
        (false, false) => wrong.push(FieldError::forbidden("metadata.namespace", "not allowed on this type")),
        (false, true) => {}
    }
    contents(object, wrong);
}

pub(super) fn update(new: &Value, old: &Value, wrong: &mut Errors) {
    for key in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let pointer = format!("/metadata/{key}");
        immutable(&format!("metadata.{key}"), get(new, &pointer), get(old, &pointer), wrong);
    }
    if get(old, "/metadata/deletionTimestamp").is_some() {
        let before = list(old, "/metadata/finalizers");
        let added = list(new, "/metadata/finalizers").iter().filter(|name| !before.contains(name));
        let added: Vec<String> = added.map(Value::to_string).collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            wrong.push(FieldError::forbidden("metadata.finalizers", why));
        }
    }
    contents(new, wrong);
}

fn contents(object: &Value, wrong: &mut Errors) {
    labels(object.pointer("/metadata/labels"), "metadata.labels", wrong);
    annotations(object.pointer("/metadata/annotations"), "metadata.annotations", wrong);
    finalizers(object, wrong);
    owners(object, wrong);
}

/// A map of labels; also a nodeSelector and a selector's matchLabels.
pub(super) fn labels(labels: Option<&Value>, path: &str, wrong: &mut Errors) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        rule(path, key, name::qualified, wrong);
        rule(path, value.as_str().unwrap_or(""), name::label_value, wrong);
    }
}

pub(super) fn annotations(annotations: Option<&Value>, path: &str, wrong: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        for why in name::qualified(&key.to_lowercase()) {
            wrong.push(FieldError::invalid(path, &json!(key), why));
        }
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        wrong.push(FieldError::too_long(path, ANNOTATIONS_BYTES_MAX));
    }
}

fn finalizers(object: &Value, wrong: &mut Errors) {
    let names = list(object, "/metadata/finalizers");
    for name in names.iter().filter_map(Value::as_str) {
        rule("metadata.finalizers", name, name::qualified, wrong);
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            wrong.push(FieldError::invalid("metadata.finalizers", &json!(name), why));
        }
    }
    if names.contains(&json!("orphan")) && names.contains(&json!("foregroundDeletion")) {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        wrong.push(FieldError::invalid("metadata.finalizers", &json!(names), why));
    }
}

fn owners(object: &Value, wrong: &mut Errors) {
    const PATH: &str = "metadata.ownerReferences";
    let references = list(object, "/metadata/ownerReferences");
    for reference in references {
        for (key, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(reference, &format!("/{key}")).is_empty() {
                wrong.push(FieldError::invalid(format!("{PATH}.{key}"), &json!(""), why));
            }
        }
        if text(reference, "/kind") == "Event" {
            let why = format!("{} is disallowed from being an owner", text(reference, "/apiVersion"));
            wrong.push(FieldError::invalid(PATH, reference, why));
        }
    }
    let mut controllers = references.iter().filter(|reference| flag(reference, "/controller"));
    if let (Some(one), Some(two)) = (controllers.next(), controllers.next()) {
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            text(one, "/name"),
            text(two, "/name")
        );
        wrong.push(FieldError::invalid(PATH, &json!(references), why));
    }
}

/// The labels of an object as a selector sees them.
pub(super) fn label_map(object: &Value, pointer: &str) -> std::collections::BTreeMap<String, String> {
    let pairs = map(object, pointer).into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned())).collect()
}
