//! Everything that who asks may do in a namespace; for `kubectl auth can-i --list`.

use control_api::Status;
use serde_json::{Value, json};

use crate::api::Api;
use crate::call::User;
use crate::node_rule;

pub fn own(api: &Api, user: &User, body: &Value) -> Result<Value, Status> {
    let namespace = body["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    let index = api.rbac.read(&**api.store());
    let mut problems = index.visit(user, namespace, |_, rule| {
        if !rule.resources.is_empty() {
            let mut found = json!({
                "verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources,
            });
            if !rule.resource_names.is_empty() {
                found["resourceNames"] = json!(rule.resource_names);
            }
            resources.push(found);
        }
        if !rule.non_resource_urls.is_empty() {
            paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
        true
    });
    let is_node = node_rule::node_of(user).is_some();
    if is_node {
        problems.push("node authorizer does not support user rule resolution".to_owned());
    }
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": !problems.is_empty()});
    if !problems.is_empty() {
        status["evaluationError"] = json!(problems.join(", "));
    }
    Ok(status)
}
