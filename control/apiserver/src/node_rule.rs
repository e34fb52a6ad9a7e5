//! The node rule: a node sees and changes what is its own, and nothing else.
//!
//! In reading order: who is a node, [`decide`] what it may ask for, [`relation`] what its pods name, [`restriction`]
//! what it may write into its own objects.

pub mod relation;
pub mod restriction;

use std::sync::LazyLock;

use crate::api::Api;
use crate::authorize::Attributes;
use crate::call::User;
use crate::rbac::{Rule, defaults};

const USER_PREFIX: &str = "system:node:";
const GROUP: &str = "system:nodes";
const LEASES: &str = "kube-node-lease";

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(defaults::node_rules);

/// The name of the node that a user is.
pub fn node_of(user: &User) -> Option<&str> {
    let name = user.name.strip_prefix(USER_PREFIX).filter(|name| !name.is_empty())?;
    user.in_group(GROUP).then_some(name)
}

/// Whether the node may; otherwise why not, where there is more to say than that nobody allowed it.
pub fn decide(api: &Api, node: &str, wanted: &Attributes<'_>, bound_to: &str) -> Result<(), String> {
    let Attributes::Resource { verb, group, resource, subresource, namespace, name } = *wanted else {
        return by_rules(wanted);
    };
    let related = |kind| {
        if name.is_empty() {
            return Err("No Object name found".to_owned());
        }
        let found = relation::exists(&**api.store(), node, kind, namespace, name);
        found.then_some(()).ok_or_else(|| format!("no relationship found between node '{node}' and this object"))
    };
    match (group, resource) {
        ("", "secrets" | "configmaps") => {
            only(matches!(verb, "get" | "list" | "watch"), "can only read resources of this type")?;
            only(subresource.is_empty(), "cannot read subresource")?;
            only(!namespace.is_empty(), "can only read namespaced object of this type")?;
            related(if resource == "secrets" { relation::Kind::Secret } else { relation::Kind::ConfigMap })
        }
        ("", "persistentvolumeclaims" | "persistentvolumes") => {
            only(verb == "get", "can only get individual resources of this type")?;
            only(subresource.is_empty(), "cannot get subresource")?;
            let claim = resource == "persistentvolumeclaims";
            related(if claim { relation::Kind::Claim } else { relation::Kind::Volume })
        }
        ("", "serviceaccounts") => {
            let one = verb == "create" && !name.is_empty();
            only(one, "can only create tokens for individual service accounts")?;
            only(subresource == "token", "can only create token subresource of serviceaccount")?;
            related(relation::Kind::Account)
        }
        ("coordination.k8s.io", "leases") => {
            let known = matches!(verb, "get" | "create" | "update" | "patch" | "delete");
            only(known, "can only get, create, update, patch, or delete a node lease")?;
            only(namespace == LEASES, "can only access leases in the \"kube-node-lease\" system namespace")?;
            let own = verb == "create" || name == node;
            only(own, "can only access node lease with the same name as the requesting node")
        }
        ("", "nodes") => node_object(node, verb, subresource, name),
        ("", "pods") => pod(api, node, wanted, bound_to),
        _ => by_rules(wanted),
    }
}

fn only(right: bool, why: &str) -> Result<(), String> {
    if right { Ok(()) } else { Err(why.to_owned()) }
}

fn by_rules(wanted: &Attributes<'_>) -> Result<(), String> {
    if RULES.iter().any(|rule| rule.allows(wanted)) { Ok(()) } else { Err(String::new()) }
}

/// Its own Node by name; whether a write is of its own is [`restriction`]'s to say.
fn node_object(node: &str, verb: &str, subresource: &str, name: &str) -> Result<(), String> {
    match (subresource, verb) {
        ("", "create" | "update" | "patch") => Ok(()),
        ("status", "update" | "patch") => Ok(()),
        ("", "get" | "list" | "watch") => {
            only(name == node, &format!("node '{node}' cannot read '{name}', only its own Node object"))
        }
        _ => Err("cannot use this verb or subresource of Node objects".to_owned()),
    }
}

fn pod(api: &Api, node: &str, wanted: &Attributes<'_>, bound_to: &str) -> Result<(), String> {
    let Attributes::Resource { verb, subresource, namespace, name, .. } = *wanted else { return Err(String::new()) };
    match (subresource, verb) {
        ("" | "status", "get") => {
            let own = relation::is_bound(&**api.store(), node, namespace, name);
            only(own, &format!("no relationship found between node '{node}' and this object"))
        }
        ("", "list" | "watch") => {
            let own = bound_to == node || relation::is_bound(&**api.store(), node, namespace, name);
            only(own, "can only list/watch pods with spec.nodeName field selector")
        }
        _ => by_rules(wanted),
    }
}
