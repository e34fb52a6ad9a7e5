//! EndpointSlices, Endpoints and NetworkPolicies.

use super::*;
use crate::resource::{ENDPOINT_SLICES, ENDPOINTS, NETWORK_POLICIES};

#[test]
fn slices_and_endpoints_hold_addresses_that_traffic_can_go_to() {
    check(
        &ENDPOINT_SLICES,
        || {
            json!({"metadata": {"name": "a", "namespace": "d"}, "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.42.0.3"]}], "ports": [{"port": 80}]})
        },
        &[
            ("/addressType", Value::Null, "addressType: Required value"),
            ("/addressType", json!("IP"), "addressType: Unsupported value: \"IP\": supported values: \"FQDN\""),
            ("/endpoints/0/addresses", json!([]), "endpoints[0].addresses: Required value: must contain at least 1"),
            ("/endpoints/0/addresses/0", json!("::1"), "endpoints[0].addresses[0]: Invalid value: \"::1\": must be a"),
            ("/endpoints/0/addresses/0", json!("127.0.0.1"), "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\""),
            ("/endpoints/0/hostname", json!("A"), "endpoints[0].hostname: Invalid value: \"A\""),
            ("/ports", json!([{"port": 80}, {"port": 81}]), "ports[1].name: Duplicate value: \"\""),
            ("/ports/0/port", json!(0), "ports[0].port: Invalid value: 0"),
            ("/ports/0/protocol", json!("X"), "ports[0].protocol: Unsupported value: \"X\""),
        ],
    );
    check(
        &ENDPOINTS,
        || {
            json!({"metadata": {"name": "a", "namespace": "d"},
                "subsets": [{"addresses": [{"ip": "10.42.0.3"}], "ports": [{"port": 80}]}]})
        },
        &[
            ("/subsets/0/addresses", json!([]), "subsets[0]: Required value: must specify `addresses` or"),
            (
                "/subsets/0/addresses/0/ip",
                json!("x"),
                "subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid",
            ),
            ("/subsets/0/ports", json!([{"port": 1}, {"port": 2, "name": "b"}]), "subsets[0].ports[0].name: Required"),
            ("/subsets/0/ports/0/port", json!(0), "subsets[0].ports[0].port: Invalid value: 0"),
        ],
    );
}

#[test]
fn policies_are_refused_in_kubernetes_words() {
    let peer = |peer: Value| json!([{"from": [peer]}]);
    let port = |port: Value| json!([{"ports": [port]}]);
    check(
        &NETWORK_POLICIES,
        || json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"podSelector": {}}}),
        &[
            ("/spec/ingress", peer(json!({"podSelector": {}})), ""),
            ("/spec/ingress", peer(json!({})), "spec.ingress[0].from[0]: Required value: must specify a peer"),
            (
                "/spec/ingress",
                peer(json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}})),
                "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
            ),
            ("/spec/ingress", peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}})), ""),
            (
                "/spec/ingress",
                peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}})),
                "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of",
            ),
            ("/spec/ingress", peer(json!({"ipBlock": {"cidr": "x"}})), "spec.ingress[0].from[0].ipBlock.cidr: Invalid"),
            ("/spec/ingress", port(json!({"port": 80, "endPort": 90})), ""),
            (
                "/spec/ingress",
                port(json!({"port": "http", "endPort": 90})),
                "spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric",
            ),
            (
                "/spec/ingress",
                port(json!({"endPort": 9})),
                "spec.ingress[0].ports[0].endPort: Invalid value: 9: may not",
            ),
            ("/spec/policyTypes", json!(["Sideways"]), "spec.policyTypes[0]: Unsupported value: \"Sideways\""),
        ],
    );
}
