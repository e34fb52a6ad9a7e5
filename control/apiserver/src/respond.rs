//! Answers: the only place where HTTP statuses are decided.

use std::convert::Infallible;

use bytes::Bytes;
use control_api::Status;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::call::Reply;
use crate::negotiate::Shape;

pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Bytes of warnings in one answer, as Kubernetes truncates them.
const WARNING_BYTES_MAX: usize = 4 << 10;

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

fn typed(code: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// 200 with JSON that is ready.
pub fn json(body: impl Into<Bytes>) -> Response<Body> {
    typed(StatusCode::OK, "application/json", full(body))
}

/// 200 with JSON that is produced as it is read.
pub fn stream(body: Body) -> Response<Body> {
    typed(StatusCode::OK, "application/json", body)
}

/// 200 with plain text that is produced as it is read.
pub fn text_stream(body: Body) -> Response<Body> {
    typed(StatusCode::OK, "text/plain", body)
}

pub fn value(value: &Value) -> Response<Body> {
    json(value.to_string())
}

/// 200 or, for a failed check, 500.
pub fn health(ok: bool, text: String) -> Response<Body> {
    let code = if ok { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    typed(code, "text/plain; charset=utf-8", full(text))
}

/// 200 with a document of another type.
pub fn document(kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    typed(StatusCode::OK, kind, full(body))
}

/// 304: the client has it.
pub fn not_modified() -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// 101: the connection is handed over.
pub fn switching(headers: [(http::HeaderName, HeaderValue); 4]) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().extend(headers);
    response
}

/// A failure.
pub fn status(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = typed(code, "application/json", full(status.to_value().to_string()));
    let retry_after_s = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if retry_after_s > 0 {
        response.headers_mut().insert(RETRY_AFTER, retry_after_s.into());
    }
    response
}

/// A refusal that a client should say more about than it would by itself.
pub fn warned(status: &Status, warnings: &[String]) -> Response<Body> {
    let mut response = self::status(status);
    warn(&mut response, warnings);
    response
}

/// What a write left, in the shape the client asked for.
pub fn reply(reply: Reply, shape: Shape) -> Result<Response<Body>, Status> {
    let (created, warnings, body) = match reply {
        Reply::Object { object, created, warnings } => (created, warnings, shape.one(&object)?),
        Reply::Value { value, created, warnings } => (created, warnings, value.to_string().into()),
    };
    let mut response = json(body);
    if created {
        *response.status_mut() = StatusCode::CREATED;
    }
    warn(&mut response, &warnings);
    Ok(response)
}

/// `Warning: 299 - "text"`, one header each.
fn warn(response: &mut Response<Body>, warnings: &[String]) {
    let mut room = WARNING_BYTES_MAX;
    for warning in warnings {
        let text = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        if text.len() > room {
            break;
        }
        room -= text.len();
        if let Ok(header) = HeaderValue::try_from(format!("299 - \"{text}\"")) {
            response.headers_mut().append("warning", header);
        }
    }
}
