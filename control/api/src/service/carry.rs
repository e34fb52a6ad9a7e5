//! What an update carries over from the version before: a client need not repeat what the server gave out, and a
//! Service that changes its type loses what the new type has no use for, unless the client changed that too.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::object::{child, get, integer, items_mut, list, put, text};

use super::{externally_accessible, needs_cluster_ip, needs_health_check_port, needs_node_port};

/// `clusterIP` and the first of `clusterIPs` are one field under two names: whichever the client changed counts.
pub(super) fn cluster_ips(service: &mut Value, old: Option<&Value>) {
    let one = text(service, "/spec/clusterIP").to_owned();
    let many = list(service, "/spec/clusterIPs").to_vec();
    let Some(spec) = child(service, "spec") else { return };
    let changed = match old {
        None => many.is_empty(),
        Some(old) if many == list(old, "/spec/clusterIPs") => one != text(old, "/spec/clusterIP"),
        Some(_) => false,
    };
    if changed {
        let many = Some(json!([one])).filter(|_| !one.is_empty());
        put(spec, "clusterIPs", many);
    }
}

/// What the server gave out before, where the new version leaves it open.
pub(super) fn allocated(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(new) {
        let before = text(old, "/spec/clusterIP").to_owned();
        if text(new, "/spec/clusterIP").is_empty() && list(new, "/spec/clusterIPs").is_empty() {
            put(&mut new["spec"], "clusterIP", get(old, "/spec/clusterIP").cloned());
        }
        if list(new, "/spec/clusterIPs").is_empty() && text(new, "/spec/clusterIP") == before {
            put(&mut new["spec"], "clusterIPs", get(old, "/spec/clusterIPs").cloned());
        }
    }
    if needs_node_port(old) && needs_node_port(new) {
        node_ports(new, old);
    }
    if needs_health_check_port(old) && needs_health_check_port(new) && number(new, "/spec/healthCheckNodePort") == 0 {
        put(&mut new["spec"], "healthCheckNodePort", get(old, "/spec/healthCheckNodePort").cloned());
    }
}

fn number(object: &Value, pointer: &str) -> i64 {
    integer(object, pointer).unwrap_or(0)
}

/// A port keeps its node port by its name, unless another port of the new version took the number.
fn node_ports(new: &mut Value, old: &Value) {
    let ports = |service: &Value| -> BTreeSet<i64> {
        list(service, "/spec/ports").iter().map(|port| number(port, "/nodePort")).filter(|port| *port != 0).collect()
    };
    let mut used: BTreeSet<i64> = ports(old).intersection(&ports(new)).copied().collect();
    let by_name: BTreeMap<&str, i64> =
        list(old, "/spec/ports").iter().map(|port| (text(port, "/name"), number(port, "/nodePort"))).collect();
    for port in items_mut(&mut new["spec"], "ports").filter(|port| port.is_object()) {
        if number(port, "/nodePort") != 0 {
            continue;
        }
        let before = by_name.get(text(port, "/name")).copied().unwrap_or(0);
        if before != 0 && used.insert(before) {
            port["nodePort"] = json!(before);
        }
    }
}

/// Takes away what only the old type had, where the client left it as it was.
pub(super) fn drop_unused(new: &mut Value, old: &Value) {
    let same = |new: &Value, key: &str| {
        let pointer = format!("/spec/{key}");
        get(new, &pointer) == get(old, &pointer)
    };
    let mut drop = Vec::new();
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        if same(new, "clusterIP") && same(new, "clusterIPs") {
            drop.extend(["clusterIP", "clusterIPs"]);
        }
        drop.extend(["ipFamilies", "ipFamilyPolicy"].into_iter().filter(|key| same(new, key)));
    }
    if needs_node_port(old) && !needs_node_port(new) && same_node_ports(new, old) {
        for port in items_mut(&mut new["spec"], "ports") {
            put(port, "nodePort", None);
        }
    }
    let balances = |service: &Value| text(service, "/spec/type") == "LoadBalancer";
    for (key, had, has) in [
        ("healthCheckNodePort", needs_health_check_port(old), needs_health_check_port(new)),
        ("allocateLoadBalancerNodePorts", balances(old), balances(new)),
        ("loadBalancerClass", balances(old), balances(new)),
        ("externalTrafficPolicy", externally_accessible(old), externally_accessible(new)),
    ] {
        if had && !has && same(new, key) {
            drop.push(key);
        }
    }
    for key in drop {
        put(&mut new["spec"], key, None);
    }
}

fn same_node_ports(new: &Value, old: &Value) -> bool {
    let ports = |service: &Value| -> Vec<i64> {
        list(service, "/spec/ports").iter().map(|port| number(port, "/nodePort")).collect()
    };
    ports(new) == ports(old)
}
