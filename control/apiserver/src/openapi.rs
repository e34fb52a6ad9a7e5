//! `/openapi/v3`: an index of hashed documents. They are built on demand and not kept: clients cache them by hash.

use control_api::{Reason, Status, openapi};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Response};
use serde_json::{Map, json};

use crate::respond::{self, Body};

/// `/openapi/v3`.
pub fn index() -> Response<Body> {
    let mut paths = Map::new();
    for (path, hash) in openapi::v3_index() {
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    respond::value(&json!({"paths": paths}))
}

/// `/openapi/v3/PATH`.
pub fn document(path: &str, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let missing = || Status::new(Reason::NotFound, "the server could not find the requested resource");
    let (_, hash) = openapi::v3_index().into_iter().find(|(known, _)| known == path).ok_or_else(missing)?;
    let etag = HeaderValue::try_from(format!("\"{hash}\"")).map_err(|_| Status::internal("a hash is no header"))?;
    if headers.get(IF_NONE_MATCH) == Some(&etag) {
        return Ok(respond::not_modified());
    }
    let parts: Vec<&str> = path.split('/').collect();
    let body = match parts.as_slice() {
        ["api", version] => openapi::v3_document("", version),
        ["apis", group, version] => openapi::v3_document(group, version),
        _ => None,
    };
    let mut response = respond::json(body.ok_or_else(missing)?);
    response.headers_mut().insert(ETAG, etag);
    // The hash is in the address, so that a document never changes under it.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    Ok(response)
}

/// `/openapi/v2`: a document without definitions. kubectl asks for it where v3 does not know a kind, and only to be
/// told that v2 does not know it either.
pub fn v2() -> Response<Body> {
    // A gnostic `Document` in protobuf, the one form that kubectl reads: swagger = 1, info = 2 {title, version}, paths = 8.
    let mut info = Vec::new();
    for (number, text) in [(1, "Kubernetes"), (2, "v1.35.0")] {
        push_field(&mut info, number, text.as_bytes());
    }
    let mut document = Vec::new();
    push_field(&mut document, 1, b"2.0");
    push_field(&mut document, 2, &info);
    push_field(&mut document, 8, b"");
    let mut response = respond::json(document);
    let protobuf = HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    response.headers_mut().insert(CONTENT_TYPE, protobuf);
    response
}

/// A length-delimited protobuf field of fewer than 128 bytes.
fn push_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    out.push(u8::try_from(bytes.len()).expect("the document's texts are short"));
    out.extend_from_slice(bytes);
}
