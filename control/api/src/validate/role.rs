//! Roles, ClusterRoles and what binds them.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{get, list, text};
use crate::resource::Resource;

use super::check::{Errors, required, rule};
use super::selector;

const GROUP: &str = "rbac.authorization.k8s.io";
const SUBJECTS: [&str; 3] = ["ServiceAccount", "User", "Group"];

pub(super) fn role(object: &Value, resource: &Resource, wrong: &mut Errors) {
    for (at, rule) in list(object, "/rules").iter().enumerate() {
        policy_rule(rule, &format!("rules[{at}]"), resource.namespaced(), wrong);
    }
    if let Some(aggregation) = get(object, "/aggregationRule") {
        const PATH: &str = "aggregationRule.clusterRoleSelectors";
        let selectors = list(aggregation, "/clusterRoleSelectors");
        if selectors.is_empty() {
            let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            wrong.push(FieldError::required(PATH, why));
        }
        for (at, found) in selectors.iter().enumerate() {
            selector::selector(found, &format!("{PATH}[{at}]"), wrong);
        }
    }
}

fn policy_rule(rule: &Value, path: &str, namespaced: bool, wrong: &mut Errors) {
    let (groups, resources) = (list(rule, "/apiGroups"), list(rule, "/resources"));
    let names = list(rule, "/resourceNames");
    if list(rule, "/verbs").is_empty() {
        wrong.push(FieldError::required(format!("{path}.verbs"), "verbs must contain at least one value"));
    }
    let urls = list(rule, "/nonResourceURLs");
    if !urls.is_empty() {
        let field = format!("{path}.nonResourceURLs");
        if namespaced {
            let why = "namespaced rules cannot apply to non-resource URLs";
            wrong.push(FieldError::invalid(&field, &json!(urls), why));
        }
        if !groups.is_empty() || !resources.is_empty() || !names.is_empty() {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            wrong.push(FieldError::invalid(&field, &json!(urls), why));
        }
        return;
    }
    if groups.is_empty() {
        let why = "resource rules must supply at least one api group";
        wrong.push(FieldError::required(format!("{path}.apiGroups"), why));
    }
    if resources.is_empty() {
        let why = "resource rules must supply at least one resource";
        wrong.push(FieldError::required(format!("{path}.resources"), why));
    }
}

pub(super) fn binding(object: &Value, resource: &Resource, wrong: &mut Errors) {
    let role = get(object, "/roleRef").unwrap_or(&Value::Null);
    let kinds: &[&str] = if resource.namespaced() { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if text(role, "/apiGroup") != GROUP {
        wrong.push(FieldError::not_supported("roleRef.apiGroup", &json!(text(role, "/apiGroup")), &[GROUP]));
    }
    if !kinds.contains(&text(role, "/kind")) {
        wrong.push(FieldError::not_supported("roleRef.kind", &json!(text(role, "/kind")), kinds));
    }
    required(role, "roleRef", "name", name::path_segment, wrong);
    for (at, found) in list(object, "/subjects").iter().enumerate() {
        subject(found, &format!("subjects[{at}]"), resource.namespaced(), wrong);
    }
}

pub(super) fn binding_update(new: &Value, old: &Value, wrong: &mut Errors) {
    let (after, before) = (get(new, "/roleRef"), get(old, "/roleRef"));
    let same = ["apiGroup", "kind", "name"].iter().all(|key| {
        let pointer = format!("/roleRef/{key}");
        text(new, &pointer) == text(old, &pointer)
    });
    if after.is_some() != before.is_some() || !same {
        wrong.push(FieldError::invalid("roleRef", after.unwrap_or(&Value::Null), "cannot change roleRef"));
    }
}

fn subject(subject: &Value, path: &str, namespaced: bool, wrong: &mut Errors) {
    let (kind, given, group) = (text(subject, "/kind"), text(subject, "/name"), text(subject, "/apiGroup"));
    if given.is_empty() {
        wrong.push(FieldError::required(format!("{path}.name"), ""));
    }
    let expected = match kind {
        "ServiceAccount" => {
            if !given.is_empty() {
                rule(&format!("{path}.name"), given, name::dns_subdomain, wrong);
            }
            if !namespaced && text(subject, "/namespace").is_empty() {
                wrong.push(FieldError::required(format!("{path}.namespace"), ""));
            }
            ""
        }
        "User" | "Group" => GROUP,
        other => {
            return wrong.push(FieldError::not_supported(format!("{path}.kind"), &json!(other), &SUBJECTS));
        }
    };
    if group != expected {
        wrong.push(FieldError::not_supported(format!("{path}.apiGroup"), &json!(group), &[expected]));
    }
}
