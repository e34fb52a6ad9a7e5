//! Defaults of Services and of their endpoints.

use serde_json::{Value, json};

use crate::object::{child, fill, get, integer, items_mut, put, text};
use crate::service::{externally_accessible, needs_cluster_ip};

/// How long a client stays with its endpoint.
const AFFINITY_SECONDS: i64 = 10800;

pub(super) fn service(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "sessionAffinity", "None");
    fill(spec, "type", "ClusterIP");
    match text(spec, "/sessionAffinity") {
        "None" => put(spec, "sessionAffinityConfig", None),
        "ClientIP" => {
            let config = child(spec, "sessionAffinityConfig").and_then(|config| child(config, "clientIP"));
            if let Some(config) = config {
                fill(config, "timeoutSeconds", AFFINITY_SECONDS);
            }
        }
        _ => {}
    }
    for port in items_mut(spec, "ports").filter(|port| port.is_object()) {
        fill(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or(Value::Null);
        if port.get("targetPort").is_some_and(|target| target == 0) {
            port["targetPort"] = Value::Null;
        }
        fill(port, "targetPort", number);
        // A zero is what clients in typed languages send for none.
        if integer(port, "/nodePort") == Some(0) {
            put(port, "nodePort", None);
        }
    }
    if integer(spec, "/healthCheckNodePort") == Some(0) {
        put(spec, "healthCheckNodePort", None);
    }
    for key in ["clusterIP", "externalTrafficPolicy"] {
        if get(spec, &format!("/{key}")).is_none_or(|value| value == "") {
            put(spec, key, None);
        }
    }
    let balances = text(spec, "/type") == "LoadBalancer";
    if balances {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    if externally_accessible(object) {
        fill(&mut object["spec"], "externalTrafficPolicy", "Cluster");
    }
    if needs_cluster_ip(object) {
        fill(&mut object["spec"], "internalTrafficPolicy", "Cluster");
    }
    if let Some(balancer) = object.pointer_mut("/status/loadBalancer").filter(|_| balances) {
        let with_address = items_mut(balancer, "ingress").filter(|ingress| !text(ingress, "/ip").is_empty());
        with_address.for_each(|ingress| fill(ingress, "ipMode", "VIP"));
    }
}

pub(super) fn endpoints(object: &mut Value) {
    for subset in items_mut(object, "subsets") {
        items_mut(subset, "ports").for_each(|port| fill(port, "protocol", "TCP"));
    }
}

pub(super) fn endpoint_slice(object: &mut Value) {
    for port in items_mut(object, "ports").filter(|port| port.is_object()) {
        if get(port, "/name").is_none() {
            port["name"] = json!("");
        }
        fill(port, "protocol", "TCP");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_service_gets_every_default() {
        let mut object = json!({"spec": {"ports": [{"port": 80, "nodePort": 0}, {"port": 81, "targetPort": "http"}]}});
        service(&mut object);
        let wanted = json!({"spec": {
            "ports": [
                {"port": 80, "protocol": "TCP", "targetPort": 80},
                {"port": 81, "targetPort": "http", "protocol": "TCP"},
            ],
            "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster",
        }});
        assert_eq!(object, wanted);
        let once = object.clone();
        service(&mut object);
        assert_eq!(object, once);
    }

    #[test]
    fn a_load_balancer_gets_ports_and_a_policy_and_a_client_a_timeout() {
        let mut object = json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"},
            "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"hostname": "a"}]}}});
        service(&mut object);
        assert_eq!(object["spec"]["allocateLoadBalancerNodePorts"], true);
        assert_eq!(object["spec"]["externalTrafficPolicy"], "Cluster");
        assert_eq!(object["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
        let ingress = json!([{"ip": "10.0.0.1", "ipMode": "VIP"}, {"hostname": "a"}]);
        assert_eq!(object["status"]["loadBalancer"]["ingress"], ingress);
        let mut object = json!({"spec": {"type": "ExternalName", "externalName": "a.b"}});
        service(&mut object);
        assert_eq!(object["spec"].get("internalTrafficPolicy"), None);
    }

    #[test]
    fn a_port_of_a_slice_has_a_name_even_if_empty() {
        let mut object = json!({"ports": [{"port": 80}]});
        endpoint_slice(&mut object);
        assert_eq!(object["ports"][0], json!({"port": 80, "name": "", "protocol": "TCP"}));
    }
}
