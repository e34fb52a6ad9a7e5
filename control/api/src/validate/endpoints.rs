//! EndpointSlices, and the Endpoints that came before them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::object::{get, list, text};
use crate::{ip, name};

use super::check::{Errors, between, immutable, one_of, optional, rule};
use super::port::PORT_MAX;

const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const SLICE_ENDPOINTS_MAX: usize = 1000;
const SLICE_PORTS_MAX: usize = 20_000;
const ADDRESSES_MAX: usize = 100;

pub(super) fn slice(object: &Value, wrong: &mut Errors) {
    let kind = text(object, "/addressType");
    match kind {
        "" => wrong.push(FieldError::required("addressType", "")),
        _ => one_of_top(object, "addressType", &ADDRESS_TYPES, wrong),
    }
    let endpoints = list(object, "/endpoints");
    if endpoints.len() > SLICE_ENDPOINTS_MAX {
        wrong.push(FieldError::too_many("endpoints", endpoints.len(), SLICE_ENDPOINTS_MAX));
        return;
    }
    for (at, endpoint) in endpoints.iter().enumerate() {
        let path = format!("endpoints[{at}]");
        let (addresses, field) = (list(endpoint, "/addresses"), format!("{path}.addresses"));
        if addresses.is_empty() {
            wrong.push(FieldError::required(&field, "must contain at least 1 address"));
        } else if addresses.len() > ADDRESSES_MAX {
            wrong.push(FieldError::too_many(&field, addresses.len(), ADDRESSES_MAX));
        }
        for (at, address) in addresses.iter().enumerate() {
            slice_address(kind, &format!("{field}[{at}]"), address, wrong);
        }
        optional(endpoint, &path, "hostname", name::dns_label, wrong);
        optional(endpoint, &path, "nodeName", name::dns_subdomain, wrong);
        optional(endpoint, &path, "zone", name::label_value, wrong);
    }
    let ports = list(object, "/ports");
    if ports.len() > SLICE_PORTS_MAX {
        return wrong.push(FieldError::too_many("ports", ports.len(), SLICE_PORTS_MAX));
    }
    slice_ports(ports, wrong);
}

pub(super) fn slice_update(new: &Value, old: &Value, wrong: &mut Errors) {
    immutable("addressType", get(new, "/addressType"), get(old, "/addressType"), wrong);
}

fn one_of_top(object: &Value, key: &str, words: &[&str], wrong: &mut Errors) {
    let value = &object[key];
    if !value.as_str().is_some_and(|text| words.contains(&text)) {
        wrong.push(FieldError::not_supported(key, value, words));
    }
}

fn slice_address(kind: &str, field: &str, address: &Value, wrong: &mut Errors) {
    let text = address.as_str().unwrap_or("");
    let parsed = ip::parse(text);
    let why = match kind {
        "IPv4" if !parsed.is_some_and(|address| address.is_ipv4()) => "must be a valid IPv4 address",
        "IPv6" if !parsed.is_some_and(|address| address.is_ipv6()) => "must be a valid IPv6 address",
        "FQDN" => return rule(field, text.strip_suffix('.').unwrap_or(text), name::dns_subdomain, wrong),
        "IPv4" | "IPv6" => match parsed.and_then(ip::special) {
            Some(why) => why,
            None => return,
        },
        _ => return,
    };
    wrong.push(FieldError::invalid(field, address, why));
}

fn slice_ports(ports: &[Value], wrong: &mut Errors) {
    let mut names = BTreeSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = format!("ports[{at}]");
        let given = text(port, "/name");
        optional(port, &path, "name", name::dns_label, wrong);
        if !names.insert(given) {
            wrong.push(FieldError::duplicate(format!("{path}.name"), &json!(given)));
        }
        one_of(port, &path, "protocol", &PROTOCOLS, wrong);
        between(port, &path, "port", 1, PORT_MAX, wrong);
        optional(port, &path, "appProtocol", name::qualified, wrong);
    }
}

pub(super) fn endpoints(object: &Value, wrong: &mut Errors) {
    for (at, subset) in list(object, "/subsets").iter().enumerate() {
        let path = format!("subsets[{at}]");
        let (ready, others) = (list(subset, "/addresses"), list(subset, "/notReadyAddresses"));
        if ready.is_empty() && others.is_empty() {
            wrong.push(FieldError::required(&path, "must specify `addresses` or `notReadyAddresses`"));
        }
        for (key, addresses) in [("addresses", ready), ("notReadyAddresses", others)] {
            for (at, address) in addresses.iter().enumerate() {
                endpoint_address(address, &format!("{path}.{key}[{at}]"), wrong);
            }
        }
        let ports = list(subset, "/ports");
        for (at, port) in ports.iter().enumerate() {
            let path = format!("{path}.ports[{at}]");
            if ports.len() > 1 && text(port, "/name").is_empty() {
                wrong.push(FieldError::required(format!("{path}.name"), ""));
            }
            optional(port, &path, "name", name::dns_label, wrong);
            let number = port.get("port").cloned().unwrap_or(json!(0));
            if !number.as_i64().is_some_and(|number| (1..=PORT_MAX).contains(&number)) {
                let why = format!("must be between 1 and {PORT_MAX}, inclusive");
                wrong.push(FieldError::invalid(format!("{path}.port"), &number, why));
            }
            one_of(port, &path, "protocol", &PROTOCOLS, wrong);
            optional(port, &path, "appProtocol", name::qualified, wrong);
        }
    }
}

fn endpoint_address(address: &Value, path: &str, wrong: &mut Errors) {
    let (field, text) = (format!("{path}.ip"), text(address, "/ip"));
    match ip::parse(text) {
        None => {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            wrong.push(FieldError::invalid(field, &json!(text), why));
        }
        Some(parsed) => {
            if let Some(why) = ip::special(parsed) {
                wrong.push(FieldError::invalid(field, &json!(text), why));
            }
        }
    }
    optional(address, path, "hostname", name::dns_label, wrong);
    optional(address, path, "nodeName", name::dns_subdomain, wrong);
}
