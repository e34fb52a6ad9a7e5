//! Volumes of a pod.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{get, integer, list, map, text};
use crate::quantity::Quantity;

use super::check::{Errors, anything, local_path, one_of, required};
use super::env;
use super::unsupported::{PROJECTIONS, VOLUME_TYPES};

const MODE_MAX: i64 = 0o777;
const TOKEN_SECONDS_MIN: i64 = 600;
pub(super) const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

pub(super) fn volumes(spec: &Value, path: &str, wrong: &mut Errors) {
    let mut names = BTreeSet::new();
    for (at, volume) in list(spec, "/volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{at}]");
        required(volume, &path, "name", name::dns_label, wrong);
        let given = text(volume, "/name");
        if !given.is_empty() && !names.insert(given) {
            wrong.push(FieldError::duplicate(format!("{path}.name"), &json!(given)));
        }
        source(volume, &path, wrong);
    }
}

fn source(volume: &Value, path: &str, wrong: &mut Errors) {
    let fields = volume.as_object().into_iter().flatten();
    let kinds: Vec<&String> =
        fields.filter(|(key, value)| *key != "name" && !value.is_null()).map(|(key, _)| key).collect();
    let Some((kind, others)) = kinds.split_first() else {
        wrong.push(FieldError::required(path, "must specify a volume type"));
        return;
    };
    for other in others {
        wrong.push(FieldError::forbidden(format!("{path}.{other}"), "may not specify more than 1 volume type"));
    }
    let (source, path) = (&volume[kind.as_str()], format!("{path}.{kind}"));
    match kind.as_str() {
        "emptyDir" => empty_dir(source, &path, wrong),
        "hostPath" => host_path(source, &path, wrong),
        "configMap" => {
            required(source, &path, "name", anything, wrong);
            files(source, &path, wrong);
        }
        "secret" => {
            required(source, &path, "secretName", anything, wrong);
            files(source, &path, wrong);
        }
        "downwardAPI" => {
            mode(source, &path, "defaultMode", wrong);
            downward_files(source, &path, wrong);
        }
        "projected" => projected(source, &path, wrong),
        "persistentVolumeClaim" => required(source, &path, "claimName", name::dns_subdomain, wrong),
        other => {
            let supported = VOLUME_TYPES.join(", ");
            let why = format!("a volume of type {other} is not supported yet, supported: {supported}");
            wrong.push(FieldError::forbidden(path, why));
        }
    }
}

fn empty_dir(source: &Value, path: &str, wrong: &mut Errors) {
    one_of(source, path, "medium", &["", "Memory"], wrong);
    if let Some(limit) = get(source, "/sizeLimit") {
        let readable = Quantity::parse(limit.as_str().unwrap_or("")).is_ok_and(|limit| !limit.is_negative());
        if !readable {
            let why = "SizeLimit field must be a valid resource quantity";
            wrong.push(FieldError::forbidden(format!("{path}.sizeLimit"), why));
        }
    }
}

fn host_path(source: &Value, path: &str, wrong: &mut Errors) {
    required(source, path, "path", anything, wrong);
    let wanted = text(source, "/path");
    if wanted.split('/').any(|part| part == "..") {
        wrong.push(FieldError::invalid(format!("{path}.path"), &json!(wanted), "must not contain '..'"));
    }
    one_of(source, path, "type", &HOST_PATH_TYPES, wrong);
}

fn mode(source: &Value, path: &str, key: &str, wrong: &mut Errors) {
    if let Some(mode) = integer(source, &format!("/{key}"))
        && !(0..=MODE_MAX).contains(&mode)
    {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        wrong.push(FieldError::invalid(format!("{path}.{key}"), &json!(mode), why));
    }
}

/// The files of a configMap or secret volume.
fn files(source: &Value, path: &str, wrong: &mut Errors) {
    mode(source, path, "defaultMode", wrong);
    for (at, item) in list(source, "/items").iter().enumerate() {
        let path = format!("{path}.items[{at}]");
        required(item, &path, "key", anything, wrong);
        file(item, &path, wrong);
    }
}

fn downward_files(source: &Value, path: &str, wrong: &mut Errors) {
    for (at, item) in list(source, "/items").iter().enumerate() {
        let path = format!("{path}.items[{at}]");
        file(item, &path, wrong);
        env::file_source(item, &path, wrong);
    }
}

fn file(item: &Value, path: &str, wrong: &mut Errors) {
    required(item, path, "path", anything, wrong);
    let (field, place) = (format!("{path}.path"), text(item, "/path"));
    local_path(&field, place, wrong);
    if place.starts_with("..") && !place.starts_with("../") && place != ".." {
        wrong.push(FieldError::invalid(field, &json!(place), "must not start with '..'"));
    }
    mode(item, path, "mode", wrong);
}

fn projected(source: &Value, path: &str, wrong: &mut Errors) {
    mode(source, path, "defaultMode", wrong);
    for (at, projection) in list(source, "/sources").iter().enumerate() {
        let path = format!("{path}.sources[{at}]");
        let kinds = map(projection, "").into_iter().flatten().filter(|(_, value)| !value.is_null());
        let kinds: Vec<&String> = kinds.map(|(key, _)| key).collect();
        let [kind] = kinds.as_slice() else {
            let why = "exactly one source type must be specified";
            wrong.push(FieldError::forbidden(path, why));
            continue;
        };
        let (source, path) = (&projection[kind.as_str()], format!("{path}.{kind}"));
        match kind.as_str() {
            "configMap" | "secret" => {
                required(source, &path, "name", anything, wrong);
                files(source, &path, wrong);
            }
            "downwardAPI" => downward_files(source, &path, wrong),
            "serviceAccountToken" => token(source, &path, wrong),
            other => {
                let supported = PROJECTIONS.join(", ");
                let why = format!("a projection of {other} is not supported yet, supported: {supported}");
                wrong.push(FieldError::forbidden(path, why));
            }
        }
    }
}

fn token(source: &Value, path: &str, wrong: &mut Errors) {
    required(source, path, "path", anything, wrong);
    local_path(&format!("{path}.path"), text(source, "/path"), wrong);
    if let Some(seconds) = integer(source, "/expirationSeconds").filter(|seconds| *seconds < TOKEN_SECONDS_MIN) {
        let why = "may not specify a duration less than 10 minutes";
        wrong.push(FieldError::invalid(format!("{path}.expirationSeconds"), &json!(seconds), why));
    }
}
