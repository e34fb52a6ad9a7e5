//! PersistentVolumes, claims on them, and StorageClasses.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{get, list, map, text};
use crate::quantity::Quantity;

use super::check::{Errors, anything, immutable, one_of, optional, required, rule};
use super::{scheduling, selector};

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const ALONE: &str = "ReadWriteOncePod";
const RECLAIM_POLICIES: [&str; 2] = ["Delete", "Retain"];
const BINDING_MODES: [&str; 2] = ["Immediate", "WaitForFirstConsumer"];
const VOLUME_PHASES: [&str; 5] = ["Available", "Bound", "Failed", "Pending", "Released"];
const CLAIM_PHASES: [&str; 3] = ["Bound", "Lost", "Pending"];
/// Kinds of volumes that nodes mount; every other is refused.
const SOURCES: [&str; 2] = ["hostPath", "local"];
/// What a PersistentVolume's spec holds beside its source.
const NO_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 << 10;

pub(super) fn volume(object: &Value, wrong: &mut Errors) {
    let Some(spec) = get(object, "/spec") else { return wrong.push(FieldError::required("spec", "")) };
    modes(spec, wrong);
    match map(spec, "/capacity").filter(|capacity| !capacity.is_empty()) {
        None => wrong.push(FieldError::required("spec.capacity", "")),
        Some(capacity) if !capacity.contains_key("storage") || capacity.len() > 1 => {
            wrong.push(FieldError::not_supported("spec.capacity", &json!(capacity), &["storage"]));
        }
        Some(capacity) => positive("spec.capacity[storage]", &capacity["storage"], wrong),
    }
    one_of(spec, "spec", "persistentVolumeReclaimPolicy", &RECLAIM_POLICIES, wrong);
    class_and_mode(spec, wrong);
    source(spec, wrong);
    if let Some(terms) = get(spec, "/nodeAffinity/required") {
        scheduling::node_terms(terms, "spec.nodeAffinity.required", wrong);
    } else if get(spec, "/local").is_some() {
        wrong.push(FieldError::required("spec.nodeAffinity", "Local volume requires node affinity"));
    }
}

fn source(spec: &Value, wrong: &mut Errors) {
    let sources = set_keys(spec).filter(|key| !NO_SOURCES.contains(key));
    let sources: Vec<&str> = sources.collect();
    let Some((kind, others)) = sources.split_first() else {
        return wrong.push(FieldError::required("spec", "must specify a volume type"));
    };
    for other in others {
        let why = "may not specify more than 1 volume type";
        wrong.push(FieldError::forbidden(format!("spec.{other}"), why));
    }
    let (source, path) = (&spec[*kind], format!("spec.{kind}"));
    if !SOURCES.contains(kind) {
        let supported = SOURCES.join(", ");
        let why = format!("a volume of type {kind} is not supported yet, supported: {supported}");
        return wrong.push(FieldError::forbidden(path, why));
    }
    required(source, &path, "path", anything, wrong);
    let place = text(source, "/path");
    if place.split('/').any(|part| part == "..") {
        wrong.push(FieldError::invalid(format!("{path}.path"), &json!(place), "must not contain '..'"));
    }
    if *kind == "local" && !place.is_empty() && !place.starts_with('/') {
        wrong.push(FieldError::invalid(format!("{path}.path"), &json!(place), "must be an absolute path"));
    }
    if *kind == "hostPath" {
        one_of(source, &path, "type", &super::volume::HOST_PATH_TYPES, wrong);
    }
}

fn modes(spec: &Value, wrong: &mut Errors) {
    let modes = list(spec, "/accessModes");
    if modes.is_empty() {
        wrong.push(FieldError::required("spec.accessModes", "at least 1 access mode is required"));
    }
    for mode in modes {
        if !mode.as_str().is_some_and(|mode| ACCESS_MODES.contains(&mode)) {
            wrong.push(FieldError::not_supported("spec.accessModes", mode, &ACCESS_MODES));
        }
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == ALONE) {
        let why = "may not use ReadWriteOncePod with other access modes";
        wrong.push(FieldError::forbidden("spec.accessModes", why));
    }
}

fn class_and_mode(spec: &Value, wrong: &mut Errors) {
    optional(spec, "spec", "storageClassName", name::dns_subdomain, wrong);
    if text(spec, "/volumeMode") == "Block" {
        wrong.push(FieldError::forbidden("spec.volumeMode", "raw block volumes are not supported yet"));
    } else {
        one_of(spec, "spec", "volumeMode", &["Block", "Filesystem"], wrong);
    }
    if get(spec, "/volumeAttributesClassName").is_some_and(|class| class != "") {
        let why = "volume attributes classes are not supported yet";
        wrong.push(FieldError::forbidden("spec.volumeAttributesClassName", why));
    }
}

fn positive(field: &str, amount: &Value, wrong: &mut Errors) {
    match Quantity::parse(amount.as_str().unwrap_or("")) {
        Ok(found) if !found.is_negative() && !found.is_zero() => {}
        Ok(_) => wrong.push(FieldError::invalid(field, amount, "must be greater than zero")),
        Err(_) => wrong.push(FieldError::invalid(field, amount, "must be a valid resource quantity")),
    }
}

pub(super) fn volume_update(new: &Value, old: &Value, wrong: &mut Errors) {
    let (after, before) = (get(new, "/spec"), get(old, "/spec"));
    let (Some(after), Some(before)) = (after, before) else { return };
    let sources = |spec: &Value| -> Vec<(String, Value)> {
        let keys = set_keys(spec).filter(|key| !NO_SOURCES.contains(key));
        keys.map(|key| (key.to_owned(), spec[key].clone())).collect()
    };
    if sources(after) != sources(before) {
        let why = "spec.persistentvolumesource is immutable after creation";
        wrong.push(FieldError::forbidden("spec.persistentvolumesource", why));
    }
    immutable("spec.volumeMode", get(after, "/volumeMode"), get(before, "/volumeMode"), wrong);
    if get(before, "/nodeAffinity").is_some() {
        immutable("spec.nodeAffinity", get(after, "/nodeAffinity"), get(before, "/nodeAffinity"), wrong);
    }
}

pub(super) fn volume_status(object: &Value, wrong: &mut Errors) {
    one_of(&object["status"], "status", "phase", &VOLUME_PHASES, wrong);
}

pub(super) fn claim(object: &Value, wrong: &mut Errors) {
    let Some(spec) = get(object, "/spec") else { return wrong.push(FieldError::required("spec", "")) };
    modes(spec, wrong);
    if let Some(found) = get(spec, "/selector") {
        selector::selector(found, "spec.selector", wrong);
    }
    match get(spec, "/resources/requests/storage") {
        None => wrong.push(FieldError::required("spec.resources[storage]", "")),
        Some(amount) => positive("spec.resources[storage]", amount, wrong),
    }
    class_and_mode(spec, wrong);
    for key in ["dataSource", "dataSourceRef"] {
        if get(spec, &format!("/{key}")).is_some() {
            let why = "volumes that begin with other data are not supported yet";
            wrong.push(FieldError::forbidden(format!("spec.{key}"), why));
        }
    }
}

pub(super) fn claim_update(new: &Value, old: &Value, wrong: &mut Errors) {
    const SIZE: &str = "/resources/requests/storage";
    let (Some(after), Some(before)) = (get(new, "/spec"), get(old, "/spec")) else { return };
    let mut expected = before.clone();
    // A claim is bound once, and gets a class once.
    for key in ["volumeName", "storageClassName"] {
        let unset = get(before, &format!("/{key}")).is_none_or(|value| key == "volumeName" && value == "");
        if let (true, Some(value)) = (unset, get(after, &format!("/{key}"))) {
            expected[key] = value.clone();
        }
    }
    let amount = |spec| get(spec, SIZE).and_then(Value::as_str).and_then(|text| Quantity::parse(text).ok());
    if text(old, "/status/phase") == "Bound"
        && let Some(size) = get(after, SIZE)
    {
        expected["resources"]["requests"]["storage"] = size.clone();
    }
    if *after != expected {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        wrong.push(FieldError::forbidden("spec", why));
    }
    if let (Some(after), Some(before)) = (amount(after), amount(before))
        && after < before
    {
        let why = "field can not be less than previous value";
        wrong.push(FieldError::forbidden("spec.resources.requests.storage", why));
    }
}

pub(super) fn claim_status(object: &Value, wrong: &mut Errors) {
    one_of(&object["status"], "status", "phase", &CLAIM_PHASES, wrong);
    for (key, amount) in map(object, "/status/capacity").into_iter().flatten() {
        positive(&format!("status.capacity[{key}]"), amount, wrong);
    }
}

pub(super) fn class(object: &Value, wrong: &mut Errors) {
    match text(object, "/provisioner") {
        "" => wrong.push(FieldError::required("provisioner", "")),
        found => rule("provisioner", &found.to_lowercase(), name::qualified, wrong),
    }
    let parameters = map(object, "/parameters");
    if parameters.is_some_and(|parameters| parameters.len() > PARAMETERS_MAX) {
        return wrong.push(FieldError::too_long("parameters", PARAMETERS_MAX));
    }
    let mut bytes = 0;
    for (key, value) in parameters.into_iter().flatten() {
        if key.is_empty() {
            wrong.push(FieldError::invalid("parameters", &json!(key), "field can not be empty."));
        }
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > PARAMETERS_BYTES_MAX {
        wrong.push(FieldError::too_long("parameters", PARAMETERS_BYTES_MAX));
    }
    for (key, words) in [("reclaimPolicy", &RECLAIM_POLICIES), ("volumeBindingMode", &BINDING_MODES)] {
        let value = &object[key];
        if !value.as_str().is_some_and(|word| words.contains(&word)) {
            wrong.push(FieldError::not_supported(key, value, words));
        }
    }
}

pub(super) fn class_update(new: &Value, old: &Value, wrong: &mut Errors) {
    for key in ["parameters", "provisioner", "reclaimPolicy"] {
        let pointer = format!("/{key}");
        let field = |object| get(object, &pointer).filter(|value| *value != &json!({}));
        if field(new) != field(old) {
            wrong.push(FieldError::forbidden(key, format!("updates to {key} are forbidden.")));
        }
    }
    immutable("volumeBindingMode", get(new, "/volumeBindingMode"), get(old, "/volumeBindingMode"), wrong);
}

/// The keys of an object whose values are not null.
fn set_keys(object: &Value) -> impl Iterator<Item = &str> {
    object.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.as_str())
}
