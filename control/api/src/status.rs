//! The errors a client sees: Kubernetes' `Status` objects, with its reasons, codes and wording.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::resource::Resource;

/// Machine-readable cause of a failure, as `metav1.StatusReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    Expired,
    ServiceUnavailable,
}

impl Reason {
    /// The word in `Status.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Gone => "Gone",
            Self::Invalid => "Invalid",
            Self::Timeout => "Timeout",
            Self::TooManyRequests => "TooManyRequests",
            Self::BadRequest => "BadRequest",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::InternalError => "InternalError",
            Self::Expired => "Expired",
            Self::ServiceUnavailable => "ServiceUnavailable",
        }
    }

    /// The HTTP status code Kubernetes pairs with the reason.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// What the failure is about; `causes` name fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    pub name: String,
    pub group: String,
    /// The resource (plural) or, for `Invalid`, the kind, as Kubernetes has it.
    pub kind: String,
    pub uid: String,
    pub causes: Vec<FieldError>,
    pub retry_after_seconds: u32,
    /// The answer's `metadata.continue`: where a list that expired goes on, though not as of one moment.
    pub list_continue: String,
}

/// A failed request, as `metav1.Status`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    pub reason: Reason,
    pub message: String,
    pub details: Option<Box<Details>>,
}

impl Status {
    /// A failure with no details.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: None }
    }

    fn about(reason: Reason, resource: &Resource, name: &str, message: String) -> Self {
        let details = Details {
            name: name.to_owned(),
            group: resource.group.to_owned(),
            kind: resource.plural.to_owned(),
            ..Details::default()
        };
        Self { reason, message, details: Some(Box::new(details)) }
    }

    /// 404 for one object: `pods "web" not found`.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.group_resource());
        Self::about(Reason::NotFound, resource, name, message)
    }

    /// 409 for a create: `pods "web" already exists`.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.group_resource());
        Self::about(Reason::AlreadyExists, resource, name, message)
    }

    /// 409 for an update: `Operation cannot be fulfilled on pods "web": <why>`.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.group_resource());
        Self::about(Reason::Conflict, resource, name, message)
    }

    /// 409 for a stale resourceVersion, in Kubernetes' words.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 403: `pods "web" is forbidden: <why>`.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", resource.group_resource())
        } else {
            format!("{} \"{name}\" is forbidden: {why}", resource.group_resource())
        };
        Self::about(Reason::Forbidden, resource, name, message)
    }

    /// 422 with one cause a field: `Pod "web" is invalid: spec.containers: Required value`.
    pub fn invalid(resource: &Resource, name: &str, causes: Vec<FieldError>) -> Self {
        let errors: Vec<String> = causes.iter().map(FieldError::to_string).collect();
        let list = match errors.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let kind = if resource.group.is_empty() {
            resource.kind.to_owned()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let message = format!("{kind} \"{name}\" is invalid: {list}");
        let details = Details {
            name: name.to_owned(),
            group: resource.group.to_owned(),
            kind: resource.kind.to_owned(),
            causes,
            ..Details::default()
        };
        Self { reason: Reason::Invalid, message, details: Some(Box::new(details)) }
    }

    /// 400 with a free message.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 410: a watch or continue token that cannot go on.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// 500: a fault of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {}", message.into()))
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.reason.code()
    }

    /// The body of the answer.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason.as_str(),
        });
        if let Some(details) = &self.details {
            let value = details.to_value();
            if value.as_object().is_some_and(|fields| !fields.is_empty()) {
                status["details"] = value;
            }
            if !details.list_continue.is_empty() {
                status["metadata"] = json!({"continue": details.list_continue});
            }
        }
        status["code"] = json!(self.code());
        status
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut details = serde_json::Map::new();
        for (key, text) in [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)] {
            if !text.is_empty() {
                details.insert(key.to_owned(), json!(text));
            }
        }
        if !self.causes.is_empty() {
            details.insert("causes".to_owned(), self.causes.iter().map(FieldError::to_cause).collect());
        }
        if self.retry_after_seconds > 0 {
            details.insert("retryAfterSeconds".to_owned(), json!(self.retry_after_seconds));
        }
        Value::Object(details)
    }
}
