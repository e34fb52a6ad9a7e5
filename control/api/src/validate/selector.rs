//! Label selectors in their object form.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::{list, text};

use super::check::{Errors, rule};
use super::meta;

pub(super) fn selector(selector: &Value, path: &str, wrong: &mut Errors) {
    meta::labels(selector.get("matchLabels"), &format!("{path}.matchLabels"), wrong);
    for (at, expression) in list(selector, "/matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{at}]");
        let (values, field) = (list(expression, "/values"), format!("{path}.values"));
        match text(expression, "/operator") {
            "In" | "NotIn" if values.is_empty() => {
                wrong.push(FieldError::required(&field, "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                wrong.push(FieldError::forbidden(&field, why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let why = "not a valid selector operator";
                wrong.push(FieldError::invalid(format!("{path}.operator"), &json!(other), why));
            }
        }
        rule(&format!("{path}.key"), text(expression, "/key"), name::qualified, wrong);
        for (at, value) in values.iter().enumerate() {
            rule(&format!("{field}[{at}]"), value.as_str().unwrap_or(""), name::label_value, wrong);
        }
    }
}

/// Whether a selector selects everything.
pub(super) fn is_empty(selector: &Value) -> bool {
    let labels = selector.get("matchLabels").and_then(Value::as_object).is_none_or(|labels| labels.is_empty());
    labels && list(selector, "/matchExpressions").is_empty()
}
