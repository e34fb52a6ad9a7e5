//! Services.

use super::*;
use crate::resource::SERVICES;

fn service() -> Value {
    json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}})
}

fn balancer() -> Value {
    let mut service = service();
    service["spec"]["type"] = json!("LoadBalancer");
    service
}

#[test]
fn services_are_refused_in_kubernetes_words() {
    check(
        &SERVICES,
        service,
        &[
            ("/metadata/name", json!("1a"), "metadata.name: Invalid value: \"1a\": a DNS-1035 label must"),
            ("/metadata/name", json!("a.b"), "metadata.name: Invalid value: \"a.b\": a DNS-1035 label must"),
            ("/spec/ports", json!([]), "spec.ports: Required value"),
            ("/spec/ports", json!([{"port": 80}, {"port": 81, "name": "b"}]), "spec.ports[0].name: Required value"),
            ("/spec/ports", json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b", "protocol": "UDP"}]), ""),
            (
                "/spec/ports",
                json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
                "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
            ),
            (
                "/spec/ports",
                json!([{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]),
                "spec.ports[1].name: Duplicate value: \"a\"",
            ),
            (
                "/spec/ports/0/port",
                json!(0),
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            ("/spec/ports/0/targetPort", json!("http"), ""),
            ("/spec/ports/0/targetPort", json!("Http"), "spec.ports[0].targetPort: Invalid value: \"Http\""),
            ("/spec/ports/0/targetPort", json!(70000), "spec.ports[0].targetPort: Invalid value: 70000: must be"),
            (
                "/spec/ports/0/protocol",
                json!("ICMP"),
                "spec.ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ),
            (
                "/spec/ports/0/nodePort",
                json!(30000),
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            ),
            ("/spec/type", json!("Other"), "spec.type: Unsupported value: \"Other\": supported values: \"ClusterIP\""),
            ("/spec/selector", json!({"a b": "c"}), "spec.selector: Invalid value: \"a b\": name part must consist"),
            ("/spec/clusterIP", json!("10.43.0.9"), ""),
            (
                "/spec/clusterIP",
                json!("10.43.0.09"),
                "spec.clusterIPs[0]: Invalid value: \"10.43.0.09\": must be a valid",
            ),
            ("/spec/clusterIP", json!("fd00::1"), "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not"),
            (
                "/spec/clusterIPs",
                json!(["10.43.0.9"]),
                "spec.clusterIPs: Invalid value: [\"10.43.0.9\"]: must be empty when `clusterIP` is not specified",
            ),
            (
                "/spec/ipFamilies",
                json!(["IPv6"]),
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this",
            ),
            ("/spec/ipFamilies", json!(["IPv4", "IPv4"]), "spec.ipFamilies[1]: Duplicate value: \"IPv4\""),
            ("/spec/ipFamilyPolicy", json!("PreferDualStack"), ""),
            (
                "/spec/ipFamilyPolicy",
                json!("RequireDualStack"),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack",
            ),
            ("/spec/externalIPs", json!(["10.0.0.1"]), ""),
            (
                "/spec/externalIPs",
                json!(["127.0.0.1"]),
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be",
            ),
            (
                "/spec/externalTrafficPolicy",
                json!("Local"),
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may",
            ),
            ("/spec/internalTrafficPolicy", json!("Some"), "spec.internalTrafficPolicy: Unsupported value: \"Some\""),
            ("/spec/sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 5}}), ""),
            ("/spec/sessionAffinity", json!("Cookie"), "spec.sessionAffinity: Unsupported value: \"Cookie\""),
            ("/spec/loadBalancerClass", json!("a.b/c"), "spec.loadBalancerClass: Forbidden: may only be used when"),
            (
                "/spec/loadBalancerSourceRanges",
                json!(["10.0.0.0/8"]),
                "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ),
            ("/spec/trafficDistribution", json!("PreferClose"), ""),
        ],
    );
}

#[test]
fn load_balancers_and_names_have_rules_of_their_own() {
    check(
        &SERVICES,
        balancer,
        &[
            (
                "/spec/clusterIP",
                json!("None"),
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for",
            ),
            ("/spec/loadBalancerSourceRanges", json!([" 10.0.0.0/8 "]), ""),
            (
                "/spec/loadBalancerSourceRanges",
                json!(["10.0.0.0"]),
                "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR value",
            ),
            ("/spec/ports/0/port", json!(10250), "spec.ports[0].port: Invalid value: 10250: may not expose port 10250"),
            ("/spec/healthCheckNodePort", json!(30009), "spec.healthCheckNodePort: Invalid value: 30009: may only be"),
            ("/spec/externalTrafficPolicy", json!("Local"), ""),
            ("/spec/loadBalancerClass", json!("a b"), "spec.loadBalancerClass: Invalid value: \"a b\""),
        ],
    );
    check(
        &SERVICES,
        || json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"type": "ExternalName", "externalName": "a.b."}}),
        &[
            ("/spec/externalName", json!(""), "spec.externalName: Required value"),
            ("/spec/externalName", json!("A_b"), "spec.externalName: Invalid value: \"A_b\""),
            ("/spec/clusterIP", json!("10.43.0.9"), "spec.clusterIPs: Forbidden: may not be set for ExternalName"),
        ],
    );
}

#[test]
fn an_address_stays_once_it_was_given_out() {
    let mut old = service();
    old["spec"]["clusterIP"] = json!("10.43.0.9");
    defaults::apply(&SERVICES, &mut old);
    strategy::prepare_create(&SERVICES, &mut old);
    let wrong = |pointer: &str, value: Value| {
        let mut new = old.clone();
        set(&mut new, pointer, value);
        defaults::apply(&SERVICES, &mut new);
        strategy::prepare_update(&SERVICES, &mut new, &old, None);
        update(&SERVICES, &new, &old).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(wrong("/spec/selector", json!({"c": "d"})), Vec::<String>::new());
    assert_eq!(wrong("/spec/clusterIP", Value::Null), Vec::<String>::new());
    let changed = ["spec.clusterIPs[0]: Invalid value: [\"10.43.0.8\"]: may not change once set"];
    assert_eq!(wrong("/spec/clusterIP", json!("10.43.0.8")), changed);
    let mut status = old.clone();
    status["status"] = json!({"loadBalancer": {"ingress": [{"ip": "x"}]}});
    let wrong: Vec<String> = update_status(&SERVICES, &status, &old).iter().map(ToString::to_string).collect();
    assert_eq!(wrong.len(), 2, "{wrong:#?}");
    assert!(wrong[0].starts_with("status.loadBalancer.ingress: Forbidden: may only be used when"));
}
