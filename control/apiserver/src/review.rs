//! Questions that are answered and not kept: who am I, may I, may they, what may I, whose token is this.

mod access;
mod rules;
mod token;

use std::sync::Arc;

use control_api::schema::{FieldValidation, check_body};
use control_api::{Reason, Resource, Status};
use http::Response;
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::call::{Reply, User};
use crate::decode;
use crate::negotiate::Shape;
use crate::pipeline::Incomer;
use crate::respond::{self, Body};
use crate::route::ResourcePath;

/// Answers a create of a review; nothing else can be done with one.
pub async fn answer(api: &Arc<Api>, at: &ResourcePath, incomer: Incomer) -> Result<Response<Body>, Status> {
    if incomer.route.verb != "create" || !at.name.is_empty() {
        let message = "the server does not allow this method on the requested resource";
        return Err(Status::new(Reason::MethodNotAllowed, message));
    }
    let shape = Shape::of(incomer.http.headers(), &incomer.query);
    let user = incomer.user.clone();
    let (options, mut body) = decode::body(at, incomer).await?;
    check_kind(at.resource, &mut body)?;
    let mode = match options.field_validation.as_str() {
        "Strict" => FieldValidation::Strict,
        "Ignore" => FieldValidation::Ignore,
        _ => FieldValidation::Warn,
    };
    let warnings = check_body(&mut body, at.resource, &options.duplicate_fields, mode)?;
    let status = match at.resource.kind {
        "SelfSubjectAccessReview" => access::own(api, at, &user, &body)?,
        "SubjectAccessReview" | "LocalSubjectAccessReview" => access::of_subject(api, at, &body)?,
        "SelfSubjectRulesReview" => rules::own(api, &user, &body)?,
        "SelfSubjectReview" => json!({"userInfo": user_info(&user)}),
        _ => token::review(api, &body)?,
    };
    let mut value = Map::new();
    value.insert("kind".to_owned(), json!(at.resource.kind));
    value.insert("apiVersion".to_owned(), json!(at.resource.api_version()));
    let mut metadata = body["metadata"].as_object().cloned().unwrap_or_default();
    metadata.entry("creationTimestamp").or_insert(Value::Null);
    value.insert("metadata".to_owned(), metadata.into());
    if let Some(spec) = body.get("spec").filter(|_| at.resource.kind != "SelfSubjectReview") {
        value.insert("spec".to_owned(), spec.clone());
    }
    value.insert("status".to_owned(), status);
    respond::reply(Reply::Value { value: value.into(), created: true, warnings }, shape)
}

/// A body may leave its kind out; it cannot have another one.
fn check_kind(resource: &Resource, body: &mut Value) -> Result<(), Status> {
    for (field, wanted) in [("apiVersion", resource.api_version()), ("kind", resource.kind.to_owned())] {
        let found = body[field].as_str().unwrap_or_default();
        if !found.is_empty() && found != wanted {
            let message = format!("the {field} in the data ({found}) does not match the expected one ({wanted})");
            return Err(Status::bad_request(message));
        }
        body[field] = json!(wanted);
    }
    Ok(())
}

/// `authentication/v1 UserInfo`.
fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
