//! Checks of one value that many kinds share.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::object::{get, integer, text};

pub(super) type Errors = Vec<FieldError>;

/// A syntax rule of [`crate::name`].
pub(super) type Rule = fn(&str) -> Vec<String>;

/// Complains once for each rule that `value` breaks.
pub(super) fn rule(field: &str, value: &str, rule: Rule, wrong: &mut Errors) {
    for why in rule(value) {
        wrong.push(FieldError::invalid(field, &json!(value), why));
    }
}

/// A text that must be there and follow `check`.
pub(super) fn required(object: &Value, path: &str, key: &str, check: Rule, wrong: &mut Errors) {
    let (field, value) = (format!("{path}.{key}"), text(object, &format!("/{key}")));
    if value.is_empty() {
        wrong.push(FieldError::required(field, ""));
    } else {
        rule(&field, value, check, wrong);
    }
}

/// A text that follows `check` where it is there.
pub(super) fn optional(object: &Value, path: &str, key: &str, check: Rule, wrong: &mut Errors) {
    let value = text(object, &format!("/{key}"));
    if !value.is_empty() {
        rule(&format!("{path}.{key}"), value, check, wrong);
    }
}

/// A rule that everything follows.
pub(super) fn anything(_: &str) -> Vec<String> {
    Vec::new()
}

/// A text of an enumeration; absent is fine.
pub(super) fn one_of(object: &Value, path: &str, key: &str, words: &[&str], wrong: &mut Errors) {
    if let Some(value) = get(object, &format!("/{key}"))
        && !value.as_str().is_some_and(|text| words.contains(&text))
    {
        wrong.push(FieldError::not_supported(format!("{path}.{key}"), value, words));
    }
}

/// An integer of a range; absent is fine.
pub(super) fn between(object: &Value, path: &str, key: &str, low: i64, high: i64, wrong: &mut Errors) {
    if let Some(value) = integer(object, &format!("/{key}"))
        && !(low..=high).contains(&value)
    {
        let why = format!("must be between {low} and {high}, inclusive");
        wrong.push(FieldError::invalid(format!("{path}.{key}"), &json!(value), why));
    }
}

/// An integer that is not negative; absent is fine.
pub(super) fn not_negative(object: &Value, path: &str, key: &str, wrong: &mut Errors) {
    if let Some(value) = integer(object, &format!("/{key}")).filter(|value| *value < 0) {
        let why = "must be greater than or equal to 0";
        wrong.push(FieldError::invalid(format!("{path}.{key}"), &json!(value), why));
    }
}

/// A field that no update changes.
pub(super) fn immutable(field: &str, new: Option<&Value>, old: Option<&Value>, wrong: &mut Errors) {
    if new != old {
        wrong.push(FieldError::invalid(field, new.unwrap_or(&Value::Null), "field is immutable"));
    }
}

/// A path inside a volume: relative, without a step up.
pub(super) fn local_path(field: &str, path: &str, wrong: &mut Errors) {
    if path.starts_with('/') {
        wrong.push(FieldError::invalid(field, &json!(path), "must be a relative path"));
    }
    if path.split('/').any(|part| part == "..") {
        wrong.push(FieldError::invalid(field, &json!(path), "must not contain '..'"));
    }
}

/// The keys of `object` among `choices` that are set.
pub(super) fn chosen<'a>(object: &Value, choices: &[&'a str]) -> Vec<&'a str> {
    choices.iter().filter(|key| get(object, &format!("/{key}")).is_some()).copied().collect()
}
