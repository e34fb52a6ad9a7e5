//! Access reviews: what the authorizer would say, about oneself or about others.

use control_api::{FieldError, Status};
use serde_json::{Value, json};

use crate::api::Api;
use crate::authorize::{Attributes, decide};
use crate::call::User;
use crate::route::ResourcePath;

/// About who asks.
pub fn own(api: &Api, at: &ResourcePath, user: &User, body: &Value) -> Result<Value, Status> {
    judge(api, at, user, &body["spec"])
}

/// About the subject that the review names.
pub fn of_subject(api: &Api, at: &ResourcePath, body: &Value) -> Result<Value, Status> {
    let spec = &body["spec"];
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    let extra = spec["extra"].as_object().into_iter().flatten();
    let user = User {
        name: text("user"),
        uid: text("uid"),
        groups: list(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), list(values))).collect(),
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let wrong = FieldError::invalid("spec.user", &json!(""), "at least one of user or group must be specified");
        return Err(Status::invalid(at.resource, "", vec![wrong]));
    }
    if at.resource.namespaced() {
        let found = spec["resourceAttributes"]["namespace"].as_str().unwrap_or_default();
        if found != at.namespace {
            let why = format!("must match metadata.namespace: {}", at.namespace);
            let wrong = FieldError::invalid("spec.resourceAttributes.namespace", &json!(found), why);
            return Err(Status::invalid(at.resource, "", vec![wrong]));
        }
    }
    judge(api, at, &user, spec)
}

fn judge(api: &Api, at: &ResourcePath, user: &User, spec: &Value) -> Result<Value, Status> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let wrong = match (resource.is_object(), path.is_object()) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            FieldError::invalid("spec.nonResourceAttributes", path, why)
        }
        (false, false) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            FieldError::invalid("spec.resourceAttributes", &Value::Null, why)
        }
        _ => return Ok(status(api, user, resource, path)),
    };
    Err(Status::invalid(at.resource, "", vec![wrong]))
}

fn status(api: &Api, user: &User, resource: &Value, path: &Value) -> Value {
    fn text<'a>(value: &'a Value, field: &str) -> &'a str {
        value[field].as_str().unwrap_or_default()
    }
    let wanted = if resource.is_object() {
        Attributes::Resource {
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
        }
    } else {
        Attributes::Path { verb: text(path, "verb"), path: text(path, "path") }
    };
    let decision = decide(api, user, &wanted);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = json!(decision.reason);
    }
    status
}
