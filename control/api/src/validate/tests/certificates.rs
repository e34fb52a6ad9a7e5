//! CertificateSigningRequests.

use serde_json::{Value, json};

use crate::resource::CERTIFICATE_SIGNING_REQUESTS;
use crate::validate;

fn request(spec: Value) -> Value {
    let mut all = json!({"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"metadata": {"name": "ann"}, "spec": all, "status": {}})
}

fn complaints(spec: Value) -> Vec<String> {
    validate::create(&CERTIFICATE_SIGNING_REQUESTS, &request(spec)).iter().map(ToString::to_string).collect()
}

#[test]
fn a_request_names_its_signer_its_usages_and_a_life_of_ten_minutes_or_more() {
    assert!(complaints(json!({})).is_empty());
    assert!(complaints(json!({"signerName": "example.com/a.b", "expirationSeconds": 600})).is_empty());
    for (spec, words) in [
        (json!({"usages": []}), "spec.usages: Required value"),
        (json!({"usages": ["x"]}), "spec.usages[0]: Unsupported value: \"x\": supported values: \"any\""),
        (json!({"usages": ["any", "any"]}), "spec.usages[1]: Duplicate value: \"any\""),
        (json!({"expirationSeconds": 599}), "599: may not specify a duration less than 600 seconds (10 minutes)"),
        (json!({"signerName": ""}), "spec.signerName: Required value"),
        (json!({"signerName": "a"}), "must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        (json!({"signerName": "a.b/c/d"}), "must be a fully qualified domain and path"),
        (json!({"signerName": "a/b"}), "\"a\": should be a domain with at least two segments separated by dots"),
        (json!({"signerName": "A.b/c"}), "\"A.b\": validating label \"A\": a lowercase RFC 1123 label"),
        (json!({"signerName": "a.b/C"}), "\"C\": validating label \"C\": a lowercase RFC 1123 subdomain"),
        (json!({"signerName": "kubernetes.io/legacy-unknown"}), "the legacy signerName is not allowed"),
        (json!({"signerName": "kubernetes.io/kubelet-serving"}), "spec.signerName: Forbidden: nodes of this cluster"),
    ] {
        let found = complaints(spec.clone());
        assert!(found.len() == 1 && found[0].contains(words), "{spec}: {found:?}");
    }
}

fn with(conditions: Value, certificate: &str) -> Value {
    let mut object = request(json!({}));
    object["status"] = json!({"conditions": conditions});
    if !certificate.is_empty() {
        object["status"]["certificate"] = json!(certificate);
    }
    object
}

#[test]
fn who_approves_sets_conditions_and_who_signs_the_certificate_once() {
    let approved = json!({"type": "Approved", "status": "True"});
    let denied = json!({"type": "Denied", "status": "True"});
    let failed = json!({"type": "Failed", "status": "True"});
    let open = with(json!([]), "");
    let (yes, signed) = (with(json!([approved]), ""), with(json!([approved]), "YQ=="));
    let words = |found: Vec<crate::FieldError>| found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let approval = |new: &Value, old: &Value| words(validate::update_approval(new, old));
    let status = |new: &Value, old: &Value| words(validate::update_status(&CERTIFICATE_SIGNING_REQUESTS, new, old));
    assert_eq!(approval(&yes, &open), "");
    assert_eq!(status(&signed, &yes), "");
    assert_eq!(status(&with(json!([approved, failed]), ""), &yes), "");
    assert!(approval(&open, &yes).contains("updates may not remove a condition of type \"Approved\""));
    assert!(status(&yes, &open).contains("updates may not add a condition of type \"Approved\""));
    assert!(approval(&with(json!([approved, denied]), ""), &yes).contains("mutually exclusive"));
    assert!(approval(&with(json!([approved, approved]), ""), &yes).contains("[1].type: Duplicate value"));
    let no = json!({"type": "Approved", "status": "False"});
    assert!(approval(&with(json!([no]), ""), &open).contains("status: Unsupported value: \"False\""));
    assert!(approval(&with(json!([{"type": "Other"}]), ""), &open).contains("[0].status: Required value"));
    assert!(approval(&signed, &yes).contains("status.certificate: Forbidden: updates may not set"));
    let other = with(json!([approved]), "Yg==");
    assert!(status(&other, &signed).contains("updates may not modify existing certificate content"));
}
