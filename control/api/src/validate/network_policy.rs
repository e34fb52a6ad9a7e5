//! NetworkPolicies.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::ip::Cidr;
use crate::object::{get, integer, list, text};

use super::check::{Errors, chosen};
use super::port::PORT_MAX;
use super::selector;
use super::service::{cidr, number_or_name};

const TYPES: [&str; 2] = ["Ingress", "Egress"];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

pub(super) fn create(object: &Value, wrong: &mut Errors) {
    let Some(spec) = get(object, "/spec") else { return wrong.push(FieldError::required("spec", "")) };
    selector_at(spec, "spec", "podSelector", wrong);
    for (direction, side) in [("ingress", "from"), ("egress", "to")] {
        for (at, rule) in list(spec, &format!("/{direction}")).iter().enumerate() {
            let path = format!("spec.{direction}[{at}]");
            for (at, wanted) in list(rule, "/ports").iter().enumerate() {
                port(wanted, &format!("{path}.ports[{at}]"), wrong);
            }
            for (at, wanted) in list(rule, &format!("/{side}")).iter().enumerate() {
                peer(wanted, &format!("{path}.{side}[{at}]"), wrong);
            }
        }
    }
    let types = list(spec, "/policyTypes");
    if types.len() > TYPES.len() {
        let why = "may not specify more than two policyTypes";
        return wrong.push(FieldError::invalid("spec.policyTypes", &json!(types), why));
    }
    for (at, given) in types.iter().enumerate() {
        if !given.as_str().is_some_and(|word| TYPES.contains(&word)) {
            wrong.push(FieldError::not_supported(format!("spec.policyTypes[{at}]"), given, &TYPES));
        }
    }
}

/// A selector under `key`, where one is.
pub(super) fn selector_at(owner: &Value, path: &str, key: &str, wrong: &mut Errors) {
    if let Some(found) = get(owner, &format!("/{key}")) {
        selector::selector(found, &format!("{path}.{key}"), wrong);
    }
}

fn port(port: &Value, path: &str, wrong: &mut Errors) {
    super::check::one_of(port, path, "protocol", &PROTOCOLS, wrong);
    number_or_name(&format!("{path}.port"), get(port, "/port"), wrong);
    let Some(end) = integer(port, "/endPort") else { return };
    let field = format!("{path}.endPort");
    let why = match get(port, "/port") {
        None => "may not be specified when `port` is not specified",
        Some(Value::String(_)) => "may not be specified when `port` is non-numeric",
        Some(start) if start.as_i64().is_some_and(|start| end < start) => "must be greater than or equal to `port`",
        Some(_) if end > PORT_MAX => "must be between 1 and 65535, inclusive",
        Some(_) => return,
    };
    wrong.push(FieldError::invalid(field, &json!(end), why));
}

fn peer(peer: &Value, path: &str, wrong: &mut Errors) {
    selector_at(peer, path, "podSelector", wrong);
    selector_at(peer, path, "namespaceSelector", wrong);
    if let Some(block) = get(peer, "/ipBlock") {
        ip_block(block, &format!("{path}.ipBlock"), wrong);
    }
    match chosen(peer, &["podSelector", "namespaceSelector", "ipBlock"]).as_slice() {
        [] => wrong.push(FieldError::required(path, "must specify a peer")),
        [_, .., "ipBlock"] => {
            wrong.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
        }
        _ => {}
    }
}

fn ip_block(block: &Value, path: &str, wrong: &mut Errors) {
    let field = format!("{path}.cidr");
    let range = text(block, "/cidr");
    if range.is_empty() {
        return wrong.push(FieldError::required(field, ""));
    }
    cidr(&field, range, wrong);
    let Some(range) = Cidr::parse(range) else { return };
    for (at, except) in list(block, "/except").iter().enumerate() {
        let (field, text) = (format!("{path}.except[{at}]"), except.as_str().unwrap_or(""));
        cidr(&field, text, wrong);
        let Some(except) = Cidr::parse(text) else { continue };
        if !range.contains(except.network()) || except.prefix <= range.prefix {
            wrong.push(FieldError::invalid(field, &json!(text), "must be a strict subset of `cidr`"));
        }
    }
}
