use serde_json::json;

use super::*;
use crate::schema::for_kind;

fn merge(original: Value, patch: Value) -> Result<Value, Status> {
    strategic_merge(original, patch, for_kind("apps/v1", "Deployment").expect("known"))
}

/// A patch of the pod template's spec, against such a spec.
fn merge_pod(original: Value, patch: Value) -> Value {
    let wrap = |spec| json!({"spec": {"template": {"spec": spec}}});
    merge(wrap(original), wrap(patch)).expect("merges")["spec"]["template"]["spec"].take()
}

#[test]
fn containers_are_merged_by_name_and_tolerations_replaced() {
    let before = json!({"containers": [{"name": "nginx", "image": "nginx"}], "tolerations": [{"key": "a"}]});
    let patch = json!({"containers": [{"name": "redis", "image": "redis"}, {"name": "nginx", "image": "nginx:2"}],
        "tolerations": [{"key": "b"}]});
    let after = json!({"containers": [{"name": "redis", "image": "redis"}, {"name": "nginx", "image": "nginx:2"}],
        "tolerations": [{"key": "b"}]});
    assert_eq!(merge_pod(before, patch), after);
}

#[test]
fn a_container_that_is_added_comes_first_as_kubernetes_has_it() {
    let before = json!({"containers": [{"name": "main"}, {"name": "last"}]});
    let patch = json!({"containers": [{"name": "side", "image": "x"}]});
    let after = json!({"containers": [{"name": "side", "image": "x"}, {"name": "main"}, {"name": "last"}]});
    assert_eq!(merge_pod(before, patch), after);
}

#[test]
fn a_patch_against_its_own_element_order_is_refused() {
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
        "containers": [{"name": "b"}, {"name": "a"}]}}}});
    let error = merge(json!({}), patch).unwrap_err();
    assert!(error.message.contains("doesn't match $setElementOrder list"), "{}", error.message);
}

#[test]
fn items_and_fields_are_deleted_replaced_and_nulled() {
    let before = json!({"containers": [{"name": "a", "image": "x", "env": [{"name": "K", "value": "1"}]}, {"name": "b"}],
        "nodeSelector": {"k": "v"}, "securityContext": {"runAsUser": 1}});
    let patch = json!({"containers": [{"name": "b", "$patch": "delete"}, {"name": "a", "image": null,
            "env": [{"$patch": "replace"}, {"name": "L", "value": "2"}]}],
        "nodeSelector": {"$patch": "replace", "n": "w"}, "securityContext": {"$patch": "delete"}});
    let after = json!({"containers": [{"name": "a", "env": [{"name": "L", "value": "2"}]}],
        "nodeSelector": {"n": "w"}, "securityContext": {}});
    assert_eq!(merge_pod(before, patch), after);
}

#[test]
fn retain_keys_clears_the_other_strategy() {
    let before = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(merge(before, patch).expect("merges"), json!({"spec": {"strategy": {"type": "Recreate"}}}));
    let wrong = json!({"spec": {"strategy": {"$retainKeys": ["rollingUpdate"], "type": "Recreate"}}});
    assert_eq!(merge(json!({}), wrong).unwrap_err().code(), 400);
}

#[test]
fn finalizers_are_a_set_that_items_leave_by_directive() {
    let before = json!({"metadata": {"finalizers": ["a", "b"]}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c", "b"],
        "$setElementOrder/finalizers": ["c", "b"]}});
    assert_eq!(merge(before, patch).expect("merges"), json!({"metadata": {"finalizers": ["c", "b"]}}));
}

#[test]
fn element_order_moves_containers() {
    let before = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "side"}]});
    let patch = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "containers": [{"name": "a", "image": "x"}]});
    let after = json!({"containers": [{"name": "b"}, {"name": "a", "image": "x"}, {"name": "side"}]});
    assert_eq!(merge_pod(before, patch), after);
}

#[test]
fn an_item_without_its_merge_key_is_refused() {
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}});
    let error = merge(json!({}), patch).unwrap_err();
    assert_eq!(error.message, "map: {\"image\":\"x\"} does not contain declared merge key: name");
    assert_eq!(merge(json!({}), json!({"spec": {"$patch": "x"}})).unwrap_err().code(), 400);
}

#[test]
fn no_directive_survives_in_a_new_value() {
    let patch = json!({"volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}],
        "$setElementOrder/volumes": [{"name": "v"}]});
    assert_eq!(merge_pod(json!({}), patch), json!({"volumes": [{"name": "v", "emptyDir": {}}]}));
}
