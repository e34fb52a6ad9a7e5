use serde_json::json;

use super::*;
use crate::resource;

fn ty(api_version: &str, kind: &str) -> TypeRef {
    for_kind(api_version, kind).expect("the kind is in the table")
}

#[test]
fn every_served_resource_has_a_type() {
    for resource in resource::all() {
        assert!(for_resource(resource).is_some(), "{} has no type", resource.kind);
    }
}

#[test]
fn containers_are_merged_by_name_and_ports_are_listed_by_two_keys() {
    let spec = ty("v1", "Pod").field("spec").and_then(Field::ty).expect("a pod has a spec");
    let containers = spec.field("containers").expect("a pod has containers");
    assert_eq!((containers.merge_key(), containers.patch_merge(), containers.number()), (Some("name"), true, Some(2)));
    assert_eq!(containers.list_type(), Some(ListType::Map));
    let ports = containers.ty().and_then(|ty| ty.field("ports")).expect("a container has ports");
    assert_eq!(ports.merge_key(), Some("containerPort"));
    assert_eq!(ports.list_map_keys(), ["containerPort", "protocol"]);
    let strategy = ty("apps/v1", "Deployment").field("spec").and_then(Field::ty).and_then(|ty| ty.field("strategy"));
    assert!(strategy.is_some_and(Field::retain_keys));
}

#[test]
fn unknown_fields_are_dropped_and_named_with_their_index() {
    let mut pod =
        json!({"kind": "Pod", "apiVersion": "v1", "spec": {"foo": 1, "containers": [{"name": "a", "imag": "b"}]}});
    let error = check_body(&mut pod.clone(), &resource::PODS, &["spec.a".into()], FieldValidation::Strict).unwrap_err();
    assert_eq!(
        error.message,
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: duplicate field \"spec.a\", unknown field \"spec.foo\", unknown field \"spec.containers[0].imag\""
    );
    let warnings = check_body(&mut pod, &resource::PODS, &[], FieldValidation::Warn).expect("warns only");
    assert_eq!(warnings, ["unknown field \"spec.foo\"", "unknown field \"spec.containers[0].imag\""]);
    assert_eq!(pod["spec"], json!({"containers": [{"name": "a", "resources": {}}]}));
}

#[test]
fn wrong_types_are_refused_in_the_words_of_go() {
    let cases = [
        (
            json!({"spec": {"replicas": "3"}}),
            "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 1.5}}),
            "cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (json!({"spec": []}), "cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": {}}}}}),
            "cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"imagePullPolicy": 1}]}}}}),
            "cannot unmarshal number into Go struct field Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy",
        ),
    ];
    for (mut body, message) in cases {
        let error = prune(&mut body, ty("apps/v1", "Deployment"), &mut Vec::new()).unwrap_err();
        assert_eq!(error.0, format!("json: {message}"));
    }
}

#[test]
fn empty_optional_values_are_left_out_and_pointers_kept() {
    let mut deployment = json!({"metadata": {"name": "a", "labels": {}, "creationTimestamp": null},
        "spec": {"replicas": 0, "paused": false, "minReadySeconds": 0, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [], "terminationGracePeriodSeconds": 0}}}});
    prune(&mut deployment, ty("apps/v1", "Deployment"), &mut Vec::new()).expect("the body is well typed");
    let expected = json!({"metadata": {"name": "a"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "strategy": {},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [], "terminationGracePeriodSeconds": 0}}},
        "status": {}});
    assert_eq!(deployment, expected);
}
