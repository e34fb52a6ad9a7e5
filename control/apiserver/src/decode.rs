//! Bodies and options: from HTTP to a [`Call`].

use std::time::Duration;

use bytes::Bytes;
use control_api::decode::{Decoded, decode_json, decode_protobuf, decode_yaml};
use control_api::schema::{TypeRef, for_kind, for_resource};
use control_api::{Reason, Resource, Status};
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde_json::{Value, json};

use crate::call::{Call, DeleteOptions, PatchKind, Preconditions, Propagation, Verb, WriteOptions};
use crate::pipeline::Incomer;
use crate::query::Query;
use crate::route::ResourcePath;

/// The largest body read, as Kubernetes has it.
const BODY_BYTES_MAX: usize = 3 << 20;
/// How long a body may take to arrive, as Kubernetes lets a request take.
const BODY_WAIT: Duration = Duration::from_secs(60);
const FIELD_MANAGER_BYTES_MAX: usize = 128;
const PATCH_TYPES: &str =
    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";

/// Reads a body, up to the limits.
async fn read(body: Incoming) -> Result<Bytes, Status> {
    read_within(body, BODY_WAIT).await
}

async fn read_within<B>(body: B, wait: Duration) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = tokio::time::timeout(wait, Limited::new(body, BODY_BYTES_MAX).collect());
    let Ok(body) = body.await else {
        let message = format!("Timeout: request did not complete within the allotted timeout: no body in {wait:?}");
        return Err(Status::new(Reason::Timeout, message));
    };
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
            Err(Status::new(Reason::RequestEntityTooLarge, message))
        }
        Err(error) => Err(Status::bad_request(format!("the body cannot be read: {error}"))),
    }
}

fn content_type(request: &Request<Incoming>) -> String {
    let text = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn unsupported(kind: &str, supported: &str) -> Status {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {supported} (got {kind:?})"
    );
    Status::new(Reason::UnsupportedMediaType, message)
}

fn decode(kind: &str, body: &[u8], fallback: Option<TypeRef>) -> Result<Decoded, Status> {
    match kind {
        "" | "application/json" => decode_json(body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => decode_yaml(body),
        "application/vnd.kubernetes.protobuf" => decode_protobuf(body, fallback),
        other => Err(unsupported(other, "application/json, application/yaml, application/vnd.kubernetes.protobuf")),
    }
}

/// The type of a body where a protobuf envelope does not say.
fn body_type(resource: &Resource, subresource: &str) -> Option<TypeRef> {
    match subresource {
        "scale" => for_kind("autoscaling/v1", "Scale"),
        "eviction" => for_kind("policy/v1", "Eviction"),
        "binding" => for_kind("v1", "Binding"),
        "token" => for_kind("authentication.k8s.io/v1", "TokenRequest"),
        _ => for_resource(resource),
    }
}

/// Options of a write, from the query.
pub fn write_options(query: &Query) -> Result<WriteOptions, Status> {
    let mut dry_run = false;
    for value in query.all("dryRun").filter(|value| !value.is_empty()) {
        if value != "All" {
            return Err(invalid_dry_run(value));
        }
        dry_run = true;
    }
    let field_manager = query.text("fieldManager").to_owned();
    if field_manager.len() > FIELD_MANAGER_BYTES_MAX {
        return Err(Status::bad_request("fieldManager: Too long: may not be more than 128 bytes"));
    }
    let field_validation = query.text("fieldValidation").to_owned();
    if !matches!(&*field_validation, "" | "Strict" | "Warn" | "Ignore") {
        let message = format!(
            "fieldValidation: Unsupported value: \"{field_validation}\": supported values: \"Ignore\", \"Strict\", \"Warn\""
        );
        return Err(Status::new(Reason::Invalid, message));
    }
    Ok(WriteOptions { dry_run, field_manager, field_validation, duplicate_fields: Vec::new() })
}

fn invalid_dry_run(value: &str) -> Status {
    let message = format!("dryRun: Unsupported value: [\"{value}\"]: supported values: \"All\"");
    Status::new(Reason::Invalid, message)
}

/// The body of a create that leaves no object, and its options.
pub async fn body(at: &ResourcePath, incomer: Incomer) -> Result<(WriteOptions, Value), Status> {
    let mut options = write_options(&incomer.query)?;
    let kind = content_type(&incomer.http);
    let body = read(incomer.http.into_body()).await?;
    let decoded = decode(&kind, &body, body_type(at.resource, &at.subresource))?;
    options.duplicate_fields = decoded.duplicates;
    if decoded.value.is_object() {
        Ok((options, decoded.value))
    } else {
        Err(Status::bad_request("the body is not an object"))
    }
}

/// The write that a request asks for.
pub async fn call(at: ResourcePath, incomer: Incomer) -> Result<Call, Status> {
    let mut options = write_options(&incomer.query)?;
    let kind = content_type(&incomer.http);
    let verb = match incomer.route.verb {
        "patch" => {
            let patch = patch_kind(&kind)?;
            Verb::Patch(patch, patch_body(patch, read(incomer.http.into_body()).await?)?)
        }
        "delete" => {
            let body = read(incomer.http.into_body()).await?;
            Verb::Delete(delete_options(&kind, &body, &incomer.query, &mut options)?)
        }
        verb => {
            let body = read(incomer.http.into_body()).await?;
            let decoded = decode(&kind, &body, body_type(at.resource, &at.subresource))?;
            options.duplicate_fields = decoded.duplicates;
            if !decoded.value.is_object() {
                return Err(Status::bad_request("the body is not an object"));
            }
            if verb == "update" { Verb::Update(decoded.value) } else { Verb::Create(decoded.value) }
        }
    };
    let subresource = (!at.subresource.is_empty()).then_some(at.subresource);
    let (resource, namespace, name) = (at.resource, at.namespace, at.name);
    Ok(Call { user: incomer.user, verb, resource, subresource, namespace, name, options })
}

fn patch_kind(kind: &str) -> Result<PatchKind, Status> {
    match kind {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => {
            let message =
                format!("server-side apply is not supported yet - accepted media types include: {PATCH_TYPES}");
            Err(Status::new(Reason::UnsupportedMediaType, message))
        }
        other => Err(unsupported(other, PATCH_TYPES)),
    }
}

/// Some clients send YAML under a JSON patch's name; Kubernetes takes it, and so it is turned into JSON here.
fn patch_body(kind: PatchKind, body: Bytes) -> Result<Bytes, Status> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if kind == PatchKind::Json || first.is_none_or(|byte| *byte == b'{') {
        return Ok(body);
    }
    Ok(decode_yaml(&body)?.value.to_string().into())
}

/// `DeleteOptions` from the body, or from the query where there is no body.
pub fn delete_options(
    kind: &str,
    body: &[u8],
    query: &Query,
    write: &mut WriteOptions,
) -> Result<DeleteOptions, Status> {
    let mut value = json!({});
    if !body.is_empty() {
        value = decode(kind, body, for_kind("v1", "DeleteOptions"))?.value;
    }
    if !value.is_object() {
        return Err(Status::bad_request("the body of a delete must be a DeleteOptions object"));
    }
    let mut from_query = |name: &str, found: Option<Value>| {
        if let Some(found) = found.filter(|_| value.get(name).is_none_or(Value::is_null)) {
            value[name] = found;
        }
    };
    from_query("gracePeriodSeconds", query.number("gracePeriodSeconds")?.map(Value::from));
    from_query("propagationPolicy", query.get("propagationPolicy").map(Value::from));
    from_query("orphanDependents", query.get("orphanDependents").map(|_| query.flag("orphanDependents").into()));
    read_delete_options(&value, write)
}

/// The object form, as it also stands in an Eviction.
pub fn read_delete_options(value: &Value, write: &mut WriteOptions) -> Result<DeleteOptions, Status> {
    for dry_run in value["dryRun"].as_array().into_iter().flatten() {
        if dry_run != "All" {
            return Err(invalid_dry_run(dry_run.as_str().unwrap_or_default()));
        }
        write.dry_run = true;
    }
    let propagation = match value["propagationPolicy"].as_str() {
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some("Orphan") => Some(Propagation::Orphan),
        Some(other) if !other.is_empty() => {
            let message = format!(
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"{other}\": supported \
                 values: \"Background\", \"Foreground\", \"Orphan\""
            );
            return Err(Status::new(Reason::Invalid, message));
        }
        _ => value["orphanDependents"]
            .as_bool()
            .map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background }),
    };
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let wanted = &value["preconditions"];
    let preconditions = Preconditions { uid: text(&wanted["uid"]), resource_version: text(&wanted["resourceVersion"]) };
    Ok(DeleteOptions { grace_period_seconds: value["gracePeriodSeconds"].as_i64(), propagation, preconditions })
}

/// `DeleteOptions` of a deletecollection.
pub async fn collection_options(incomer: Incomer) -> Result<(Query, DeleteOptions, WriteOptions), Status> {
    let mut write = write_options(&incomer.query)?;
    let kind = content_type(&incomer.http);
    let body = read(incomer.http.into_body()).await?;
    let options = delete_options(&kind, &body, &incomer.query, &mut write)?;
    Ok((incomer.query, options, write))
}

#[cfg(test)]
mod body_tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// A client that has sent its head and says nothing more.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
        let refused = read_within(Silent, Duration::from_millis(20)).await.map_err(|status| status.code());
        assert_eq!(refused, Err(504));
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_refused() {
        let body = http_body_util::Full::new(Bytes::from(vec![b' '; BODY_BYTES_MAX + 1]));
        assert_eq!(read_within(body, BODY_WAIT).await.map_err(|status| status.code()), Err(413));
    }
}

#[cfg(test)]
mod delete_tests {
    use super::*;

    #[test]
    fn a_delete_whose_body_is_no_object_is_refused() {
        let query = Query::parse("propagationPolicy=Foreground");
        let refused = delete_options("", b"5", &query, &mut WriteOptions::default());
        assert_eq!(refused.map_err(|status| status.code()), Err(400));
    }
}
