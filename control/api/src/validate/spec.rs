//! Pod specs, in pods and in templates.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{flag, get, list, text};

use super::check::{Errors, anything, between, not_negative, one_of, optional, required};
use super::container::{ID_MAX, containers, seccomp};
use super::scheduling::scheduling;
use super::{unsupported, volume};

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const DEADLINE_SECONDS_MAX: i64 = i32::MAX as i64;

pub(super) fn spec(spec: &Value, path: &str, wrong: &mut Errors) {
    volume::volumes(spec, path, wrong);
    containers(spec, path, wrong);
    one_of(spec, path, "restartPolicy", &RESTART_POLICIES, wrong);
    one_of(spec, path, "dnsPolicy", &DNS_POLICIES, wrong);
    if text(spec, "/dnsPolicy") == "None" && list(spec, "/dnsConfig/nameservers").is_empty() {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        wrong.push(FieldError::required(format!("{path}.dnsConfig.nameservers"), why));
    }
    not_negative(spec, path, "terminationGracePeriodSeconds", wrong);
    between(spec, path, "activeDeadlineSeconds", 1, DEADLINE_SECONDS_MAX, wrong);
    for key in ["serviceAccountName", "nodeName", "priorityClassName"] {
        optional(spec, path, key, name::dns_subdomain, wrong);
    }
    for key in ["hostname", "subdomain"] {
        optional(spec, path, key, name::dns_label, wrong);
    }
    for (at, secret) in list(spec, "/imagePullSecrets").iter().enumerate() {
        required(secret, &format!("{path}.imagePullSecrets[{at}]"), "name", anything, wrong);
    }
    for (at, gate) in list(spec, "/readinessGates").iter().enumerate() {
        let path = format!("{path}.readinessGates[{at}]");
        optional(gate, &path, "conditionType", name::qualified, wrong);
    }
    host_aliases(spec, path, wrong);
    security(spec, path, wrong);
    scheduling(spec, path, wrong);
    unsupported::refuse(spec, path, wrong);
}

fn host_aliases(spec: &Value, path: &str, wrong: &mut Errors) {
    for (at, alias) in list(spec, "/hostAliases").iter().enumerate() {
        let path = format!("{path}.hostAliases[{at}]");
        let address = text(alias, "/ip");
        if address.parse::<std::net::IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            wrong.push(FieldError::invalid(format!("{path}.ip"), &json!(address), why));
        }
        for (at, host) in list(alias, "/hostnames").iter().enumerate() {
            let field = format!("{path}.hostnames[{at}]");
            super::check::rule(&field, host.as_str().unwrap_or(""), name::dns_subdomain, wrong);
        }
    }
}

/// What is the host's cannot be given to users who are nobody there.
fn own_users(spec: &Value, path: &str, wrong: &mut Errors) {
    const WHY: &str = "when `hostUsers` is false";
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if flag(spec, &format!("/{key}")) {
            wrong.push(FieldError::forbidden(format!("{path}.{key}"), WHY));
        }
    }
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        for (at, container) in list(spec, &format!("/{kind}")).iter().enumerate() {
            if !list(container, "/volumeDevices").is_empty() {
                wrong.push(FieldError::forbidden(format!("{path}.{kind}[{at}].volumeDevices"), WHY));
            }
        }
    }
}

fn security(spec: &Value, path: &str, wrong: &mut Errors) {
    if flag(spec, "/shareProcessNamespace") && flag(spec, "/hostPID") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        wrong.push(FieldError::invalid(format!("{path}.shareProcessNamespace"), &json!(true), why));
    }
    if get(spec, "/hostUsers") == Some(&Value::Bool(false)) {
        own_users(spec, path, wrong);
    }
    let Some(context) = get(spec, "/securityContext") else { return };
    let path = format!("{path}.securityContext");
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        between(context, &path, key, 0, ID_MAX, wrong);
    }
    seccomp(context, &path, wrong);
    one_of(context, &path, "supplementalGroupsPolicy", &["Merge", "Strict"], wrong);
    one_of(context, &path, "fsGroupChangePolicy", &["OnRootMismatch", "Always"], wrong);
    for (at, group) in list(context, "/supplementalGroups").iter().enumerate() {
        if !group.as_i64().is_some_and(|group| (0..=ID_MAX).contains(&group)) {
            let why = format!("must be between 0 and {ID_MAX}, inclusive");
            wrong.push(FieldError::invalid(format!("{path}.supplementalGroups[{at}]"), group, why));
        }
    }
}
