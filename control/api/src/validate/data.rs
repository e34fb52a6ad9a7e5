//! ConfigMaps and Secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{flag, get, map, text};

use super::check::{Errors, immutable, rule};

/// Bytes of all values of one ConfigMap or Secret together.
const DATA_BYTES_MAX: usize = 1024 * 1024;
/// How Kubernetes prints the path of an object as a whole.
const WHOLE: &str = "[]";

pub(super) fn config_map(object: &Value, wrong: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in map(object, "/data").into_iter().flatten() {
        rule(&format!("data[{key}]"), key, name::config_key, wrong);
        if map(object, "/binaryData").is_some_and(|binary| binary.contains_key(key)) {
            let why = "duplicate of key present in binaryData";
            wrong.push(FieldError::invalid(format!("data[{key}]"), &json!(key), why));
        }
        bytes += value.as_str().map_or(0, str::len);
    }
    bytes += binary(object, "binaryData", wrong);
    if bytes > DATA_BYTES_MAX {
        wrong.push(FieldError::too_long(WHOLE, DATA_BYTES_MAX));
    }
}

pub(super) fn config_map_update(new: &Value, old: &Value, wrong: &mut Errors) {
    frozen(new, old, &["data", "binaryData"], wrong);
}

pub(super) fn secret(object: &Value, wrong: &mut Errors) {
    let bytes = binary(object, "data", wrong);
    if bytes > DATA_BYTES_MAX {
        wrong.push(FieldError::too_long("data", DATA_BYTES_MAX));
    }
    let missing = |key: &str| map(object, "/data").is_none_or(|data| !data.contains_key(key));
    let mut need = |key: &str| {
        if missing(key) {
            wrong.push(FieldError::required(format!("data[{key}]"), ""));
        }
    };
    match text(object, "/type") {
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().for_each(need),
        "kubernetes.io/ssh-auth" => need("ssh-privatekey"),
        "kubernetes.io/basic-auth" if missing("username") && missing("password") => {
            need("username");
            need("password");
        }
        "kubernetes.io/dockerconfigjson" => {
            need(".dockerconfigjson");
            json_text(object, ".dockerconfigjson", wrong);
        }
        "kubernetes.io/dockercfg" => {
            need(".dockercfg");
            json_text(object, ".dockercfg", wrong);
        }
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            let named = map(object, "/metadata/annotations").is_some_and(|annotations| annotations.contains_key(key));
            if !named {
                wrong.push(FieldError::required(format!("metadata.annotations[{key}]"), ""));
            }
            // Nothing would ever fill it in.
            let why = "tokens that never end are not made: use `kubectl create token`, or the token that every pod has";
            wrong.push(FieldError::forbidden("type", why));
        }
        _ => {}
    }
}

pub(super) fn secret_update(new: &Value, old: &Value, wrong: &mut Errors) {
    immutable("type", get(new, "/type"), get(old, "/type"), wrong);
    frozen(new, old, &["data"], wrong);
}

/// Checks a map of base64 values; their decoded bytes.
fn binary(object: &Value, field: &str, wrong: &mut Errors) -> usize {
    let mut bytes = 0;
    for (key, value) in map(object, &format!("/{field}")).into_iter().flatten() {
        rule(&format!("{field}[{key}]"), key, name::config_key, wrong);
        match STANDARD.decode(value.as_str().unwrap_or("")) {
            Ok(decoded) => bytes += decoded.len(),
            Err(_) => {
                let why = "illegal base64 data";
                wrong.push(FieldError::invalid(format!("{field}[{key}]"), &json!("<secret contents redacted>"), why));
            }
        }
    }
    bytes
}

fn json_text(object: &Value, key: &str, wrong: &mut Errors) {
    let encoded = map(object, "/data").and_then(|data| data.get(key)).and_then(Value::as_str);
    let Some(decoded) = encoded.and_then(|encoded| STANDARD.decode(encoded).ok()) else { return };
    if serde_json::from_slice::<serde::de::IgnoredAny>(&decoded).is_err() {
        let why = "must be valid JSON";
        wrong.push(FieldError::invalid(format!("data[{key}]"), &json!("<secret contents redacted>"), why));
    }
}

/// Once `immutable` is set neither it nor the data changes.
fn frozen(new: &Value, old: &Value, fields: &[&str], wrong: &mut Errors) {
    if !flag(old, "/immutable") {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    if !flag(new, "/immutable") {
        wrong.push(FieldError::forbidden("immutable", why));
    }
    for field in fields {
        let pointer = format!("/{field}");
        if get(new, &pointer) != get(old, &pointer) {
            wrong.push(FieldError::forbidden(*field, why));
        }
    }
}
