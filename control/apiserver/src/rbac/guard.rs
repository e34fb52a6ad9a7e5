//! Nobody grants more than they have: checks on writes of roles and bindings.

use control_api::Status;
use control_api::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES};
use serde_json::Value;

use super::cover;
use super::rule::{Rule, quoted};
use crate::api::Api;
use crate::authorize::{self, Attributes};
use crate::call::User;
use crate::storage::Ask;

/// The group of roles and bindings.
const GROUP: &str = "rbac.authorization.k8s.io";

/// Before a role or binding is written: `old` is absent for a create.
pub(crate) fn check(api: &Api, ask: &Ask, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    let is_role = ask.resource == &ROLES || ask.resource == &CLUSTER_ROLES;
    let is_binding = ask.resource == &ROLE_BINDINGS || ask.resource == &CLUSTER_ROLE_BINDINGS;
    if !(is_role || is_binding) || ask.user.in_group(authorize::MASTERS) {
        return Ok(());
    }
    let refuse = |why: &str| Err(Status::forbidden(ask.resource, &ask.name, why));
    let wanted = if is_role { role(api, ask, old, new) } else { binding(api, ask, new)? };
    let Some(wanted) = wanted else { return Ok(()) };
    let missing = missing(api, &ask.user, &ask.namespace, &wanted);
    if missing.is_empty() {
        return Ok(());
    }
    if is_role && !new["aggregationRule"].is_null() {
        return refuse("must have cluster-admin privileges to use the aggregationRule");
    }
    let mut lines: Vec<String> = cover::compact(missing).iter().map(Rule::compact).collect();
    lines.sort();
    lines.dedup();
    refuse(&format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        ask.user.name,
        quoted(&ask.user.groups),
        lines.join("\n")
    ))
}

fn missing(api: &Api, user: &User, namespace: &str, wanted: &[Rule]) -> Vec<Rule> {
    let index = api.rbac.read(&**api.store());
    let mut owned = Vec::new();
    index.visit(user, namespace, |_, rule| {
        owned.push(rule.clone());
        true
    });
    cover::missing(&owned, wanted)
}

fn rules(object: &Value) -> Vec<Rule> {
    serde_json::from_value(object["rules"].clone()).unwrap_or_default()
}

/// What a role's writer must hold; nothing where the write grants nothing new, or the writer may escalate.
fn role(api: &Api, ask: &Ask, old: Option<&Value>, new: &Value) -> Option<Vec<Rule>> {
    let same = |field: &str| old.is_some_and(|old| old.get(field) == new.get(field));
    if same("rules") && same("aggregationRule") {
        return None;
    }
    let escalates = allowed(api, ask, "escalate", ask.resource.plural, &ask.name);
    if escalates {
        return None;
    }
    if new["aggregationRule"].is_null() {
        return Some(rules(new));
    }
    let all = || vec!["*".to_owned()];
    Some(vec![
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ])
}

/// What a binding's writer must hold: all of the role, unless they may bind it.
fn binding(api: &Api, ask: &Ask, new: &Value) -> Result<Option<Vec<Rule>>, Status> {
    let kind = new["roleRef"]["kind"].as_str().unwrap_or_default();
    let name = new["roleRef"]["name"].as_str().unwrap_or_default();
    let resource = if kind == "Role" { &ROLES } else { &CLUSTER_ROLES };
    if allowed(api, ask, "bind", resource.plural, name) {
        return Ok(None);
    }
    let index = api.rbac.read(&**api.store());
    match index.rules_of(kind, name, &ask.namespace) {
        Some(rules) => Ok(Some(rules.to_vec())),
        None => Err(Status::not_found(resource, name)),
    }
}

fn allowed(api: &Api, ask: &Ask, verb: &str, resource: &str, name: &str) -> bool {
    let namespace = ask.namespace.as_str();
    let wanted = Attributes::Resource { verb, group: GROUP, resource, subresource: "", namespace, name };
    authorize::decide(api, &ask.user, &wanted).allowed
}
