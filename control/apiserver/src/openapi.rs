//! `/openapi/v3`: an index of hashed documents. They are built on demand and not kept: clients cache them by hash.

use control_api::{Reason, Status, openapi};
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
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

/// `/openapi/v2` is not served: kubectl from 1.27 on uses v3 and falls back on nothing.
pub fn v2() -> Result<Response<Body>, Status> {
    Err(Status::new(Reason::NotFound, "the server could not find the requested resource"))
}
