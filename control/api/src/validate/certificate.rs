//! CertificateSigningRequests, but for what is inside of the request and of the certificate: the API server reads those.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{get, integer, list, text};

use super::check::Errors;

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
/// Signers of what a node is known by. Nodes of this cluster join, and hold keys that no request can be made for.
const NODE_SIGNERS: [&str; 2] = ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"];
const SECONDS_MIN: i64 = 600;
const DOMAIN_BYTES_MAX: usize = 253;
const SIGNER_BYTES_MAX: usize = 253 + 1 + 253 + 1 + 63;
/// Conditions that hold or are absent.
const TRUE_ONLY: [&str; 3] = ["Approved", "Denied", "Failed"];

pub(super) fn create(object: &Value, wrong: &mut Errors) {
    let usages = list(object, "/spec/usages");
    if usages.is_empty() {
        wrong.push(FieldError::required("spec.usages", ""));
    }
    for (at, usage) in usages.iter().enumerate() {
        let field = format!("spec.usages[{at}]");
        if !usage.as_str().is_some_and(|usage| USAGES.contains(&usage)) {
            wrong.push(FieldError::not_supported(&field, usage, &USAGES));
        }
        if usages[..at].contains(usage) {
            wrong.push(FieldError::duplicate(field, usage));
        }
    }
    signer(text(object, "/spec/signerName"), wrong);
    if let Some(seconds) = integer(object, "/spec/expirationSeconds").filter(|seconds| *seconds < SECONDS_MIN) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        wrong.push(FieldError::invalid("spec.expirationSeconds", &json!(seconds), why));
    }
}

fn signer(signer: &str, wrong: &mut Errors) {
    const FIELD: &str = "spec.signerName";
    let invalid = |value: &str, why: String| FieldError::invalid(FIELD, &json!(value), why);
    if signer.is_empty() {
        return wrong.push(FieldError::required(FIELD, ""));
    }
    if signer == LEGACY_SIGNER {
        let why = "the legacy signerName is not allowed via this API version";
        return wrong.push(invalid(signer, why.to_owned()));
    }
    if NODE_SIGNERS.contains(&signer) {
        let why = "nodes of this cluster get their certificates by joining (`bramble token create`), not by requests";
        return wrong.push(FieldError::forbidden(FIELD, why));
    }
    let Some((domain, path)) = signer.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return wrong.push(invalid(signer, why.to_owned()));
    };
    if domain.len() > DOMAIN_BYTES_MAX {
        wrong.push(FieldError::too_long(FIELD, DOMAIN_BYTES_MAX));
    }
    if let Some(why) = first_wrong(domain, name::dns_label) {
        wrong.push(invalid(domain, why));
    }
    if !domain.contains('.') {
        wrong.push(invalid(domain, "should be a domain with at least two segments separated by dots".to_owned()));
    }
    if let Some(why) = first_wrong(path, name::dns_subdomain) {
        wrong.push(invalid(path, why));
    }
    if signer.len() > SIGNER_BYTES_MAX {
        wrong.push(FieldError::too_long(FIELD, SIGNER_BYTES_MAX));
    }
}

/// What is wrong with the first label that breaks the rule.
fn first_wrong(dotted: &str, rule: fn(&str) -> Vec<String>) -> Option<String> {
    let mut complaints = dotted.split('.').map(|label| (label, rule(label)));
    let (label, why) = complaints.find(|(_, why)| !why.is_empty())?;
    Some(format!("validating label {label:?}: {}", why.join("; ")))
}

/// Complaints about what `subresource` made of the status.
pub(super) fn update(new: &Value, old: &Value, subresource: Option<&str>, wrong: &mut Errors) {
    const FIELD: &str = "status.conditions";
    conditions(list(new, "/status/conditions"), wrong);
    for kind in TRUE_ONLY {
        let of_kind = |object: &Value| -> Vec<Value> {
            let all = list(object, "/status/conditions").iter();
            all.filter(|condition| text(condition, "/type") == kind).cloned().collect()
        };
        let (before, after) = (of_kind(old), of_kind(new));
        let decides = subresource == Some("approval") || kind == "Failed";
        if after.len() < before.len() {
            let why = format!("updates may not remove a condition of type {kind:?}");
            wrong.push(FieldError::forbidden(FIELD, why));
        } else if !decides && after.len() > before.len() {
            wrong.push(FieldError::forbidden(FIELD, format!("updates may not add a condition of type {kind:?}")));
        } else if !decides && after != before {
            wrong.push(FieldError::forbidden(FIELD, format!("updates may not modify a condition of type {kind:?}")));
        }
    }
    let (before, after) = (text(old, "/status/certificate"), text(new, "/status/certificate"));
    if after != before && subresource != Some("status") {
        wrong.push(FieldError::forbidden("status.certificate", "updates may not set certificate content"));
    } else if after != before && !before.is_empty() {
        let why = "updates may not modify existing certificate content";
        wrong.push(FieldError::forbidden("status.certificate", why));
    }
}

fn conditions(conditions: &[Value], wrong: &mut Errors) {
    for (at, condition) in conditions.iter().enumerate() {
        let path = format!("status.conditions[{at}]");
        let kind = text(condition, "/type");
        if kind.is_empty() {
            wrong.push(FieldError::required(format!("{path}.type"), ""));
        }
        let words: &[&str] = if TRUE_ONLY.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        match text(condition, "/status") {
            "" => wrong.push(FieldError::required(format!("{path}.status"), "")),
            word if words.contains(&word) => {}
            _ => {
                let found = get(condition, "/status").unwrap_or(&Value::Null);
                wrong.push(FieldError::not_supported(format!("{path}.status"), found, words));
            }
        }
        let earlier = |wanted: &str| conditions[..at].iter().any(|other| text(other, "/type") == wanted);
        if (kind == "Approved" && earlier("Denied")) || (kind == "Denied" && earlier("Approved")) {
            let why = "Approved and Denied conditions are mutually exclusive";
            wrong.push(FieldError::invalid(format!("{path}.type"), &json!(kind), why));
        }
        if earlier(kind) {
            wrong.push(FieldError::duplicate(format!("{path}.type"), &json!(kind)));
        }
    }
}
