//! One complaint about one field, worded as Kubernetes' `field.Error`.

use std::fmt;

use serde_json::{Value, json};

/// The kind of complaint, as `metav1.CauseType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TypeInvalid,
    NotFound,
}

impl FieldErrorKind {
    fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

/// `spec.containers[0].name: Invalid value: "A": must be lower case`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub kind: FieldErrorKind,
    /// The path, with indices and keys: `spec.template.spec.containers[0].image`.
    pub field: String,
    /// The offending value as compact JSON; absent for `Required`, `Forbidden`, `TooLong` and `TooMany`.
    pub value: Option<String>,
    pub detail: String,
}

impl FieldError {
    fn make(kind: FieldErrorKind, field: impl Into<String>, value: Option<&Value>, detail: impl Into<String>) -> Self {
        Self { kind, field: field.into(), value: value.map(Value::to_string), detail: detail.into() }
    }

    /// A field that must be there; `detail` may be empty.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::Required, field, None, detail)
    }

    /// A value that breaks a rule, which `detail` states.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::Invalid, field, Some(value), detail)
    }

    /// A second item with the same key.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::make(FieldErrorKind::Duplicate, field, Some(value), "")
    }

    /// A value outside an enumeration.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|word| format!("\"{word}\"")).collect();
        let detail = format!("supported values: {}", list.join(", "));
        Self::make(FieldErrorKind::NotSupported, field, Some(value), detail)
    }

    /// A field that may not be set, or not be changed; `detail` says why.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::make(FieldErrorKind::Forbidden, field, None, detail)
    }

    /// A value that names something that is not there.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::make(FieldErrorKind::NotFound, field, Some(value), "")
    }

    /// A value of more than `max` bytes.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        Self::make(FieldErrorKind::TooLong, field, None, format!("may not be more than {max} bytes"))
    }

    /// A list of `count` items where at most `max` may be.
    pub fn too_many(field: impl Into<String>, count: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} items");
        Self::make(FieldErrorKind::TooMany, field, Some(&json!(count)), detail)
    }

    /// The message without the field's path, as in `Status.details.causes[].message`.
    pub fn message(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }

    /// One entry of `Status.details.causes`.
    pub fn to_cause(&self) -> Value {
        json!({"reason": self.kind.reason(), "message": self.message(), "field": self.field})
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}
