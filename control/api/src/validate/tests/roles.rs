//! Roles and bindings.

use super::*;
use crate::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES};

#[test]
fn rules_name_what_they_are_about() {
    let rule = |rule: Value| json!([rule]);
    check(
        &ROLES,
        || json!({"metadata": {"name": "a:b", "namespace": "d"}}),
        &[
            ("/rules", rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]})), ""),
            (
                "/rules",
                rule(json!({"apiGroups": [""], "resources": ["pods"]})),
                "rules[0].verbs: Required value: verbs",
            ),
            ("/rules", rule(json!({"verbs": ["get"], "resources": ["pods"]})), "rules[0].apiGroups: Required value"),
            ("/rules", rule(json!({"verbs": ["get"], "apiGroups": [""]})), "rules[0].resources: Required value"),
            (
                "/rules",
                rule(json!({"verbs": ["get"], "nonResourceURLs": ["/x"]})),
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
            ),
            ("/metadata/name", json!("a/b"), "metadata.name: Invalid value: \"a/b\": may not contain '/'"),
        ],
    );
    check(
        &CLUSTER_ROLES,
        || json!({"metadata": {"name": "a"}, "rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}),
        &[("/aggregationRule", json!({"clusterRoleSelectors": []}), "aggregationRule.clusterRoleSelectors: Required")],
    );
}

#[test]
fn a_binding_keeps_its_role() {
    check(
        &ROLE_BINDINGS,
        || json!({"metadata": {"name": "a", "namespace": "d"}, "roleRef": {"kind": "Role", "name": "r"}}),
        &[
            ("/roleRef/kind", json!("Pod"), "roleRef.kind: Unsupported value: \"Pod\": supported values: \"Role\""),
            ("/roleRef/name", json!(""), "roleRef.name: Required value"),
            ("/roleRef/apiGroup", json!("x"), "roleRef.apiGroup: Unsupported value: \"x\""),
            ("/subjects", json!([{"kind": "User", "name": "u"}]), ""),
            ("/subjects", json!([{"kind": "ServiceAccount", "name": "u"}]), ""),
            ("/subjects", json!([{"kind": "Robot", "name": "u"}]), "subjects[0].kind: Unsupported value: \"Robot\""),
            ("/subjects", json!([{"kind": "Group", "name": ""}]), "subjects[0].name: Required value"),
        ],
    );
    let base = || json!({"metadata": {"name": "a"}, "roleRef": {"kind": "ClusterRole", "name": "r"}});
    check(
        &CLUSTER_ROLE_BINDINGS,
        base,
        &[
            ("/roleRef/kind", json!("Role"), "roleRef.kind: Unsupported value: \"Role\""),
            ("/subjects", json!([{"kind": "ServiceAccount", "name": "u"}]), "subjects[0].namespace: Required value"),
        ],
    );
    let (old, mut new) = (base(), base());
    new["roleRef"]["name"] = json!("other");
    let wrong: Vec<String> = update(&CLUSTER_ROLE_BINDINGS, &new, &old).iter().map(ToString::to_string).collect();
    assert!(
        wrong
            .iter()
            .any(|text| text.starts_with("roleRef: Invalid value: ") && text.ends_with("cannot change roleRef"))
    );
}
