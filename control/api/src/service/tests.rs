use serde_json::json;

use super::*;

fn stored() -> Value {
    json!({"spec": {
        "type": "NodePort", "clusterIP": "10.43.0.7", "clusterIPs": ["10.43.0.7"], "selector": {"a": "b"},
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
        "ports": [{"name": "a", "port": 80, "nodePort": 30001}, {"name": "b", "port": 81, "nodePort": 30002}],
    }})
}

#[test]
fn an_update_need_not_repeat_what_was_given_out() {
    let old = stored();
    let mut new = json!({"spec": {
        "type": "NodePort", "selector": {"a": "b"},
        "ports": [{"name": "b", "port": 81}, {"name": "c", "port": 82, "nodePort": 30001}, {"name": "a", "port": 80}],
    }});
    complete(&mut new, Some(&old));
    assert_eq!(new["spec"]["clusterIP"], "10.43.0.7");
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.43.0.7"]));
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30002);
    // The number of port `a` went to `c`, so `a` gets a new one.
    assert_eq!(new["spec"]["ports"][2].get("nodePort"), None);
}

#[test]
fn a_new_type_loses_what_only_the_old_one_had() {
    let old = stored();
    let mut new = old.clone();
    new["spec"]["type"] = json!("ClusterIP");
    complete(&mut new, Some(&old));
    assert_eq!(new["spec"]["clusterIP"], "10.43.0.7");
    assert_eq!(new["spec"].get("externalTrafficPolicy"), None);
    assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);
    let mut new = old.clone();
    new["spec"]["type"] = json!("ExternalName");
    new["spec"]["externalName"] = json!("a.b");
    complete(&mut new, Some(&old));
    for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        assert_eq!(new["spec"].get(key), None, "{key}");
    }
    assert_eq!(Claims::of(&new), Claims::default());
}

#[test]
fn either_name_of_the_address_counts() {
    let mut new = json!({"spec": {"type": "ClusterIP", "clusterIP": "10.43.0.9", "selector": {"a": "b"}}});
    complete(&mut new, None);
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.43.0.9"]));
    assert_eq!(new["spec"]["ipFamilyPolicy"], "SingleStack");
    assert_eq!(new["spec"]["ipFamilies"], json!(["IPv4"]));
    let old = stored();
    let mut new = old.clone();
    new["spec"]["clusterIP"] = json!("10.43.0.8");
    complete(&mut new, Some(&old));
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.43.0.8"]));
}

#[test]
fn a_headless_service_without_a_selector_may_have_both_families() {
    let mut new = json!({"spec": {"type": "ClusterIP", "clusterIP": "None"}});
    complete(&mut new, None);
    assert_eq!(new["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(new["spec"]["ipFamilyPolicy"], "RequireDualStack");
    assert!(is_headless(&new));
    let mut new = json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "selector": {"a": "b"}}});
    complete(&mut new, None);
    assert_eq!(new["spec"]["ipFamilies"], json!(["IPv4"]));
}

#[test]
fn claims_are_addresses_and_ports_of_nodes() {
    let mut service = stored();
    service["spec"]["healthCheckNodePort"] = json!(30009);
    let claims = Claims::of(&service);
    assert_eq!(claims.addresses, BTreeSet::from([Ipv4Addr::new(10, 43, 0, 7)]));
    assert_eq!(claims.ports, BTreeSet::from([30001, 30002, 30009]));
    assert!(!lacks(&service));
    assert!(claims.is_within(&claims) && !claims.is_within(&Claims::of(&stored())));
    for pointer in ["/spec/clusterIP", "/spec/ports/1/nodePort"] {
        let mut service = stored();
        *service.pointer_mut(pointer).expect("is there") = Value::Null;
        assert!(lacks(&service), "{pointer}");
    }
}
