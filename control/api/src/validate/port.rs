//! Container ports.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{integer, list, text};

use super::check::{Errors, between, one_of, optional};

pub(super) const PORT_MAX: i64 = 65535;
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) fn ports(container: &Value, path: &str, host_network: bool, wrong: &mut Errors) {
    let mut names = BTreeSet::new();
    for (at, port) in list(container, "/ports").iter().enumerate() {
        let path = format!("{path}.ports[{at}]");
        let port_name = text(port, "/name");
        optional(port, &path, "name", name::port_name, wrong);
        if !port_name.is_empty() && !names.insert(port_name) {
            wrong.push(FieldError::duplicate(format!("{path}.name"), &json!(port_name)));
        }
        let number = integer(port, "/containerPort").unwrap_or(0);
        match number {
            0 => wrong.push(FieldError::required(format!("{path}.containerPort"), "")),
            _ => between(port, &path, "containerPort", 1, PORT_MAX, wrong),
        }
        let host = integer(port, "/hostPort").unwrap_or(0);
        if host != 0 {
            between(port, &path, "hostPort", 1, PORT_MAX, wrong);
        }
        if host_network && host != 0 && host != number {
            let why = "must match `hostPort` when `hostNetwork` is true";
            wrong.push(FieldError::invalid(format!("{path}.containerPort"), &json!(number), why));
        }
        one_of(port, &path, "protocol", &PROTOCOLS, wrong);
    }
}

/// Two containers cannot have one port of the host.
pub(super) fn host_ports(spec: &Value, path: &str, wrong: &mut Errors) {
    let mut taken = BTreeSet::new();
    let sidecar = |container: &Value| text(container, "/restartPolicy") == "Always";
    let named = |key: &'static str| list(spec, &format!("/{key}")).iter().enumerate().map(move |one| (key, one));
    for (key, (at, container)) in named("initContainers").chain(named("containers")) {
        if key == "initContainers" && !sidecar(container) {
            continue;
        }
        for (port_at, port) in list(container, "/ports").iter().enumerate() {
            let Some(number) = integer(port, "/hostPort").filter(|number| *number != 0) else { continue };
            let taking = format!("{}/{}/{number}", text(port, "/protocol"), text(port, "/hostIP"));
            if !taken.insert(taking.clone()) {
                let field = format!("{path}.{key}[{at}].ports[{port_at}].hostPort");
                wrong.push(FieldError::duplicate(field, &json!(taking)));
            }
        }
    }
}
