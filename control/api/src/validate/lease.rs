//! Leases.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::object::{get, integer, text};

use super::check::{Errors, not_negative};

pub(super) fn create(object: &Value, wrong: &mut Errors) {
    let Some(spec) = get(object, "/spec") else { return };
    if let Some(seconds) = integer(spec, "/leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        wrong.push(FieldError::invalid("spec.leaseDurationSeconds", &json!(seconds), "must be greater than 0"));
    }
    if get(spec, "/holderIdentity").is_some()
        && text(spec, "/holderIdentity").is_empty()
        && get(spec, "/strategy").is_some()
    {
        wrong.push(FieldError::invalid("spec.holderIdentity", &json!(""), "must not be empty"));
    }
    not_negative(spec, "spec", "leaseTransitions", wrong);
}
