//! Ports of Services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{get, integer, list, text};
use crate::service::is_headless;

use super::super::check::{Errors, one_of, optional, rule};
use super::super::port::PORT_MAX;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
/// Where nodes answer the control plane; a balancer that took it would shut the node off.
const KUBELET_PORT: i64 = 10250;

pub(super) fn ports(object: &Value, wrong: &mut Errors) {
    let kind = text(object, "/spec/type");
    let ports = list(object, "/spec/ports");
    if ports.is_empty() && !is_headless(object) && kind != "ExternalName" {
        wrong.push(FieldError::required("spec.ports", ""));
    }
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut node_ports = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        let (given, protocol) = (text(port, "/name"), text(port, "/protocol"));
        if given.is_empty() && ports.len() > 1 {
            wrong.push(FieldError::required(format!("{path}.name"), ""));
        }
        optional(port, &path, "name", name::dns_label, wrong);
        if !given.is_empty() && !names.insert(given) {
            wrong.push(FieldError::duplicate(format!("{path}.name"), &json!(given)));
        }
        let number = integer(port, "/port").unwrap_or(0);
        in_range(&format!("{path}.port"), number, wrong);
        one_of(port, &path, "protocol", &PROTOCOLS, wrong);
        number_or_name(&format!("{path}.targetPort"), get(port, "/targetPort"), wrong);
        optional(port, &path, "appProtocol", name::qualified, wrong);
        if kind == "LoadBalancer" && number == KUBELET_PORT {
            let why = format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
            wrong.push(FieldError::invalid(format!("{path}.port"), &json!(number), why));
        }
        let node_port = integer(port, "/nodePort").unwrap_or(0);
        if node_port != 0 && kind == "ClusterIP" {
            let why = "may not be used when `type` is 'ClusterIP'";
            wrong.push(FieldError::forbidden(format!("{path}.nodePort"), why));
        }
        if node_port != 0 && !node_ports.insert((protocol, node_port)) {
            wrong.push(FieldError::duplicate(format!("{path}.nodePort"), &json!(node_port)));
        }
        if !numbers.insert((protocol, number)) {
            wrong.push(FieldError::duplicate(&path, &json!({"port": number, "protocol": protocol})));
        }
    }
}

fn in_range(field: &str, number: i64, wrong: &mut Errors) {
    if !(1..=PORT_MAX).contains(&number) {
        let why = format!("must be between 1 and {PORT_MAX}, inclusive");
        wrong.push(FieldError::invalid(field, &json!(number), why));
    }
}

/// A port of a pod, by number or by its name.
pub(in super::super) fn number_or_name(field: &str, port: Option<&Value>, wrong: &mut Errors) {
    match port {
        Some(Value::String(given)) => rule(field, given, name::port_name, wrong),
        Some(Value::Number(number)) => in_range(field, number.as_i64().unwrap_or(0), wrong),
        _ => {}
    }
}
