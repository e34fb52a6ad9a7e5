//! Defaults of network policies and of bindings to roles.

use serde_json::{Value, json};

use crate::object::{child, fill, items_mut, list, text};

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn network_policy(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    for key in ["ingress", "egress"] {
        for rule in items_mut(spec, key) {
            items_mut(rule, "ports").for_each(|port| fill(port, "protocol", "TCP"));
        }
    }
    if list(spec, "/policyTypes").is_empty() {
        let egress = !list(spec, "/egress").is_empty();
        spec["policyTypes"] = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    }
    child(spec, "podSelector");
}

pub(super) fn binding(object: &mut Value) {
    if let Some(role) = object.get_mut("roleRef") {
        fill(role, "apiGroup", RBAC_GROUP);
    }
    for subject in items_mut(object, "subjects") {
        if matches!(text(subject, "/kind"), "User" | "Group") {
            fill(subject, "apiGroup", RBAC_GROUP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_for_what_it_has_rules_for() {
        let mut object = json!({"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}});
        network_policy(&mut object);
        assert_eq!(object["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(object["spec"]["egress"][0]["ports"][0]["protocol"], "TCP");
        let mut object = json!({"spec": {}});
        network_policy(&mut object);
        assert_eq!(object["spec"], json!({"policyTypes": ["Ingress"], "podSelector": {}}));
    }

    #[test]
    fn users_and_groups_are_of_the_rbac_group() {
        let mut object =
            json!({"roleRef": {"kind": "Role"}, "subjects": [{"kind": "User"}, {"kind": "ServiceAccount"}]});
        binding(&mut object);
        assert_eq!(object["roleRef"]["apiGroup"], RBAC_GROUP);
        assert_eq!(object["subjects"], json!([{"kind": "User", "apiGroup": RBAC_GROUP}, {"kind": "ServiceAccount"}]));
    }
}
