//! CertificateSigningRequests: who asks, what is inside of the request, and who may approve and sign for a signer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_api::resource::CERTIFICATE_SIGNING_REQUESTS;
use control_api::{FieldError, Resource, Status};
use control_pki::{Request, request};
use serde_json::{Value, json};

use crate::api::Api;
use crate::authorize::{self, Attributes};
use crate::call::User;
use crate::storage::Ask;

const GROUP: &str = "certificates.k8s.io";
/// The signer whose certificates the API server itself believes.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// Writes down who asks, whatever the body says of it.
pub fn name_requester(user: &User, object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for field in ["username", "uid", "groups", "extra"] {
        spec.shift_remove(field);
    }
    spec.insert("username".to_owned(), json!(user.name));
    if !user.uid.is_empty() {
        spec.insert("uid".to_owned(), json!(user.uid));
    }
    if !user.groups.is_empty() {
        spec.insert("groups".to_owned(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(user.extra));
    }
}

fn bytes(object: &Value, pointer: &str) -> Vec<u8> {
    let text = object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    // What is no base64 was refused when the body was read.
    STANDARD.decode(text).unwrap_or_default()
}

/// What is wrong inside of a new request, or of a certificate that a signer sets.
pub fn complaints(resource: &Resource, new: &Value, old: Option<&Value>) -> Option<FieldError> {
    const CERTIFICATE: &str = "/status/certificate";
    if resource != &CERTIFICATE_SIGNING_REQUESTS {
        return None;
    }
    let Some(old) = old else {
        let error = Request::read(&bytes(new, "/spec/request")).err()?;
        return Some(FieldError::invalid("spec.request", &new["spec"]["request"], error.to_string()));
    };
    let set = bytes(new, CERTIFICATE);
    if set.is_empty() || new.pointer(CERTIFICATE) == old.pointer(CERTIFICATE) {
        return None;
    }
    let why = request::check_certificates(&set).err()?;
    Some(FieldError::invalid("status.certificate", &json!("<certificate data>"), why))
}

/// Before a request is written: `old` is absent for a create.
pub(crate) fn check(api: &Api, ask: &Ask, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    if ask.resource != &CERTIFICATE_SIGNING_REQUESTS {
        return Ok(());
    }
    let refuse = |why: String| Err(Status::forbidden(ask.resource, &ask.name, &why));
    let Some(old) = old else {
        let masters = Request::read(&bytes(new, "/spec/request"))
            .is_ok_and(|request| request.organizations().iter().any(|group| group == authorize::MASTERS));
        return if masters && new["spec"]["signerName"] == CLIENT_SIGNER {
            refuse(format!("use of {CLIENT_SIGNER} signer with {} group is not allowed", authorize::MASTERS))
        } else {
            Ok(())
        };
    };
    let verb = match ask.subresource.as_deref() {
        Some("approval") => "approve",
        Some("status") if old["status"] != new["status"] => "sign",
        _ => return Ok(()),
    };
    let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
    if allowed(api, &ask.user, verb, signer) {
        return Ok(());
    }
    refuse(format!("user not permitted to {verb} requests with signerName {signer:?}"))
}

/// For the signer by its name, or for all of its domain.
fn allowed(api: &Api, user: &User, verb: &str, signer: &str) -> bool {
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    [signer, &format!("{domain}/*")].into_iter().any(|name| {
        let wanted =
            Attributes::Resource { verb, group: GROUP, resource: "signers", subresource: "", namespace: "", name };
        authorize::decide(api, user, &wanted).allowed
    })
}
