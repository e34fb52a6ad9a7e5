//! Events.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{get, text};

use super::check::{Errors, anything, rule};

const NOTE_BYTES_MAX: usize = 1024;

pub(super) fn create(object: &Value, wrong: &mut Errors) {
    let (namespace, about) = (text(object, "/metadata/namespace"), text(object, "/involvedObject/namespace"));
    let matches = if about.is_empty() { matches!(namespace, "default" | "kube-system") } else { about == namespace };
    if !matches {
        let why = "does not match event.namespace";
        wrong.push(FieldError::invalid("involvedObject.namespace", &json!(about), why));
    }
    // The stricter rules of events.k8s.io hold for events that carry its time.
    if get(object, "/eventTime").is_none() {
        return;
    }
    for (key, check) in [
        ("reportingComponent", name::qualified as super::check::Rule),
        ("reportingInstance", anything),
        ("action", anything),
        ("reason", anything),
    ] {
        let field = if key == "reportingComponent" { "reportingController" } else { key };
        match text(object, &format!("/{key}")) {
            "" => wrong.push(FieldError::required(field, "")),
            value => rule(field, value, check, wrong),
        }
    }
    if !matches!(text(object, "/type"), "Normal" | "Warning") {
        wrong.push(FieldError::invalid("type", &json!(text(object, "/type")), "has invalid value"));
    }
    if text(object, "/message").len() > NOTE_BYTES_MAX {
        wrong.push(FieldError::too_long("message", NOTE_BYTES_MAX));
    }
}
