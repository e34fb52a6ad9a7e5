use std::collections::BTreeSet;

use super::*;

fn document(group: &str, version: &str) -> Value {
    serde_json::from_slice(&v3_document(group, version).expect("the group is served")).expect("the document is JSON")
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value.as_str() {
            Some(target) if name == "$ref" => drop(found.insert(target)),
            _ => references(value, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_in_every_document_leads_somewhere() {
    let paths: Vec<String> = v3_index().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths[..2], ["api/v1", "apis/apps/v1"]);
    for path in paths {
        let parts: Vec<&str> = path.split('/').collect();
        let document = if parts.len() == 2 { document("", parts[1]) } else { document(parts[1], parts[2]) };
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for target in found {
            let name = target.trim_start_matches("#/components/schemas/");
            assert!(document["components"]["schemas"].get(name).is_some(), "{path} refers to {target}");
        }
    }
}

#[test]
fn patches_offer_field_validation_and_strategic_merge() {
    let document = document("apps", "v1");
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let names: Vec<&str> = patch["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
}

#[test]
fn schemas_carry_descriptions_and_merge_keys() {
    let document = document("", "v1");
    let containers = &document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["items"]["$ref"], "#/components/schemas/io.k8s.api.core.v1.Container");
    assert!(containers["description"].as_str().unwrap().starts_with("List of containers belonging to the pod."));
}

#[test]
fn a_group_that_is_not_served_has_no_document() {
    assert!(v3_document("batch", "v9").is_none());
}
