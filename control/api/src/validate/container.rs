//! Containers and init containers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{flag, get, list, text};

use super::check::{Errors, between, local_path, one_of, required};
use super::{env, port, probe, resources};

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: [&str; 2] = ["FallbackToLogsOnError", "File"];
const PROPAGATIONS: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];
pub(super) const ID_MAX: i64 = i32::MAX as i64;

/// All containers of a pod spec; names are unique among both kinds.
pub(super) fn containers(spec: &Value, path: &str, wrong: &mut Errors) {
    let volumes: BTreeSet<&str> = list(spec, "/volumes").iter().map(|volume| text(volume, "/name")).collect();
    let host_network = flag(spec, "/hostNetwork");
    if list(spec, "/containers").is_empty() {
        wrong.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for key in ["containers", "initContainers"] {
        for (at, container) in list(spec, &format!("/{key}")).iter().enumerate() {
            let path = format!("{path}.{key}[{at}]");
            one(container, &path, spec, wrong);
            let given = text(container, "/name");
            if !given.is_empty() && !names.insert(given) {
                wrong.push(FieldError::duplicate(format!("{path}.name"), &json!(given)));
            }
            port::ports(container, &path, host_network, wrong);
            mounts(container, &path, &volumes, wrong);
            if key == "initContainers" {
                refuse_of_init(container, &path, wrong);
            }
        }
    }
    port::host_ports(spec, path, wrong);
}

/// One that is added to the others of a pod that is there.
pub(super) fn beside_others(container: &Value, path: &str, spec: &Value, wrong: &mut Errors) {
    let volumes: BTreeSet<&str> = list(spec, "/volumes").iter().map(|volume| text(volume, "/name")).collect();
    one(container, path, spec, wrong);
    mounts(container, path, &volumes, wrong);
}

fn one(container: &Value, path: &str, spec: &Value, wrong: &mut Errors) {
    required(container, path, "name", name::dns_label, wrong);
    let image = text(container, "/image");
    if image.is_empty() {
        wrong.push(FieldError::required(format!("{path}.image"), ""));
    } else if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        wrong.push(FieldError::invalid(format!("{path}.image"), &json!(image), why));
    }
    one_of(container, path, "imagePullPolicy", &PULL_POLICIES, wrong);
    one_of(container, path, "terminationMessagePolicy", &MESSAGE_POLICIES, wrong);
    env::env(container, path, wrong);
    resources::resources(container, path, wrong);
    probe::probes(container, path, spec, wrong);
    if let Some(context) = get(container, "/securityContext") {
        let host_users = get(spec, "/hostUsers") != Some(&json!(false));
        security(context, &format!("{path}.securityContext"), host_users, wrong);
    }
}

fn refuse_of_init(container: &Value, path: &str, wrong: &mut Errors) {
    // Other policies came with restart rules, which are refused.
    one_of(container, path, "restartPolicy", &["Always"], wrong);
    if text(container, "/restartPolicy") == "Always" {
        return;
    }
    for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if get(container, &format!("/{key}")).is_some() {
            let why = "may not be set for init containers without restartPolicy=Always";
            wrong.push(FieldError::forbidden(format!("{path}.{key}"), why));
        }
    }
}

fn security(context: &Value, path: &str, host_users: bool, wrong: &mut Errors) {
    between(context, path, "runAsUser", 0, ID_MAX, wrong);
    between(context, path, "runAsGroup", 0, ID_MAX, wrong);
    one_of(context, path, "procMount", &["Default", "Unmasked"], wrong);
    if host_users && text(context, "/procMount") == "Unmasked" {
        let why = "`hostUsers` must be false to use `Unmasked`";
        wrong.push(FieldError::invalid(format!("{path}.procMount"), &json!("Unmasked"), why));
    }
    seccomp(context, path, wrong);
    if get(context, "/allowPrivilegeEscalation") == Some(&json!(false)) {
        let forced = if flag(context, "/privileged") {
            "`privileged` to true"
        } else if list(context, "/capabilities/add").contains(&json!("CAP_SYS_ADMIN")) {
            "`capabilities.Add` CAP_SYS_ADMIN"
        } else {
            return;
        };
        let why = format!("cannot set `allowPrivilegeEscalation` to false and {forced}");
        wrong.push(FieldError::invalid(path, context, why));
    }
}

/// Of a pod or a container.
pub(super) fn seccomp(context: &Value, path: &str, wrong: &mut Errors) {
    let Some(profile) = get(context, "/seccompProfile") else { return };
    let path = format!("{path}.seccompProfile");
    let (kind, name) = (text(profile, "/type"), text(profile, "/localhostProfile"));
    let field = format!("{path}.localhostProfile");
    match kind {
        "" => wrong.push(FieldError::required(format!("{path}.type"), "type is required when seccompProfile is set")),
        "Localhost" if name.is_empty() => {
            wrong.push(FieldError::required(field, "must be set when seccomp type is Localhost"));
        }
        "Localhost" => local_path(&field, name, wrong),
        _ if !name.is_empty() => {
            let why = "can only be set when seccomp type is Localhost";
            wrong.push(FieldError::invalid(field, &json!(name), why));
        }
        _ => {}
    }
    if !kind.is_empty() {
        one_of(profile, &path, "type", &["Localhost", "RuntimeDefault", "Unconfined"], wrong);
    }
}

fn mounts(container: &Value, path: &str, volumes: &BTreeSet<&str>, wrong: &mut Errors) {
    let mut places = BTreeSet::new();
    let privileged = flag(container, "/securityContext/privileged");
    for (at, mount) in list(container, "/volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{at}]");
        let (volume, place) = (text(mount, "/name"), text(mount, "/mountPath"));
        if volume.is_empty() {
            wrong.push(FieldError::required(format!("{path}.name"), ""));
        } else if !volumes.contains(volume) {
            wrong.push(FieldError::not_found(format!("{path}.name"), &json!(volume)));
        }
        if place.is_empty() {
            wrong.push(FieldError::required(format!("{path}.mountPath"), ""));
        } else if !places.insert(place) {
            wrong.push(FieldError::invalid(format!("{path}.mountPath"), &json!(place), "must be unique"));
        }
        let (inner, pattern) = (text(mount, "/subPath"), text(mount, "/subPathExpr"));
        local_path(&format!("{path}.subPath"), inner, wrong);
        local_path(&format!("{path}.subPathExpr"), pattern, wrong);
        if !inner.is_empty() && !pattern.is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            wrong.push(FieldError::invalid(format!("{path}.subPathExpr"), &json!(pattern), why));
        }
        recursion(mount, &path, wrong);
        one_of(mount, &path, "mountPropagation", &PROPAGATIONS, wrong);
        if text(mount, "/mountPropagation") == "Bidirectional" && !privileged {
            let why = "Bidirectional mount propagation is available only to privileged containers";
            wrong.push(FieldError::forbidden(format!("{path}.mountPropagation"), why));
        }
    }
}

fn recursion(mount: &Value, path: &str, wrong: &mut Errors) {
    let field = format!("{path}.recursiveReadOnly");
    match text(mount, "/recursiveReadOnly") {
        "" | "Disabled" => {}
        "IfPossible" | "Enabled" => {
            if !flag(mount, "/readOnly") {
                wrong.push(FieldError::forbidden(field.as_str(), "may only be specified when readOnly is true"));
            }
            if !["", "None"].contains(&text(mount, "/mountPropagation")) {
                let why = "may only be specified when mountPropagation is None or not specified";
                wrong.push(FieldError::forbidden(field, why));
            }
        }
        other => {
            let words = ["Disabled", "Enabled", "IfPossible"];
            wrong.push(FieldError::not_supported(field, &json!(other), &words));
        }
    }
}
