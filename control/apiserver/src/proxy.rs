//! `pods/NAME/proxy` and `services/NAME/proxy`: an HTTP request to a pod's port, over its node's session.
//!
//! Absent on purpose: HTTPS towards the pod, upgrades through the proxy, and Kubernetes' rewriting of links in pages.

mod target;

use std::sync::Arc;

use bytes::Bytes;
use control_api::{Reason, Status};
use futures_util::stream;
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use crate::api::Api;
use crate::log;
use crate::pipeline::Incomer;
use crate::respond::{self, Body};
use crate::route::ResourcePath;

/// What concerns one connection alone, and who asks.
const DROPPED: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    AUTHORIZATION,
];

pub async fn answer(api: &Arc<Api>, at: &ResourcePath, incomer: Incomer) -> Result<Response<Body>, Status> {
    let request = incomer.http;
    if request.headers().contains_key(UPGRADE) {
        return Err(Status::bad_request("an upgrade through the proxy is not served"));
    }
    let Some(path) = rest(request.uri()) else { return Ok(with_slash(request.uri())) };
    let target = target::find(api, at)?;
    let stream = api.nodes().ok_or_else(log::no_nodes)?.forward(&target.node, target.request.clone()).await;
    let failed = |why: String| {
        let ends = format!("error trying to reach {} {:?}: {why}", at.resource.singular, at.name);
        Status::new(Reason::ServiceUnavailable, ends)
    };
    let stream = stream.map_err(|status| failed(status.message))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(error.to_string()))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a proxied connection broke off");
        }
    });
    let request = outgoing(request, path, &target)?;
    let answer = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
    Ok(back(answer))
}

/// What follows `/proxy` in the path, as the client wrote it, with the query.
fn rest(uri: &Uri) -> Option<String> {
    // api, v1, namespaces, NAMESPACE, pods, NAME, proxy
    let path = uri.path().trim_start_matches('/');
    let rest = path.splitn(8, '/').nth(7)?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("/{rest}{query}"))
}

/// As in Kubernetes: links of the page are relative to a path with a slash at its end.
fn with_slash(uri: &Uri) -> Response<Body> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(respond::full(Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::try_from(format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn strip(headers: &mut HeaderMap) {
    for name in &DROPPED {
        headers.remove(name);
    }
}

fn outgoing(request: Request<Incoming>, path: String, target: &target::Target) -> Result<Request<Incoming>, Status> {
    let (mut parts, body) = request.into_parts();
    let bad = |_| Status::bad_request("the path cannot be passed on");
    let (before, host) = (parts.uri.path().to_owned(), parts.headers.get(HOST).cloned());
    parts.uri = Uri::try_from(path).map_err(bad)?;
    parts.version = http::Version::HTTP_11;
    strip(&mut parts.headers);
    let impersonation: Vec<HeaderName> =
        parts.headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in impersonation {
        parts.headers.remove(name);
    }
    let forwarded = HeaderName::from_static("x-forwarded-uri");
    parts.headers.insert(forwarded, HeaderValue::try_from(before).map_err(|_| Status::bad_request("a bad path"))?);
    if let Some(host) = host {
        parts.headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
    let authority = format!("{}:{}", target.request.address, target.request.port);
    if let Ok(authority) = HeaderValue::try_from(authority) {
        parts.headers.insert(HOST, authority);
    }
    Ok(Request::from_parts(parts, body))
}

/// An answer that breaks off ends early; its length, where it has one, tells the client.
fn back(answer: Response<Incoming>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    strip(&mut parts.headers);
    let pieces = stream::unfold(body, |mut body| async move {
        let piece = body.frame().await?.ok()?;
        Some((Ok::<_, std::convert::Infallible>(piece), body))
    });
    Response::from_parts(parts, StreamBody::new(pieces).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_behind_proxy_is_passed_on_as_it_was_written() {
        let rest = |text: &str| rest(&text.parse().unwrap());
        let base = "/api/v1/namespaces/default/services/http:web:80/proxy";
        assert_eq!(rest(base), None);
        assert_eq!(rest(&format!("{base}/")), Some("/".to_owned()));
        assert_eq!(rest(&format!("{base}/a%2Fb//c?x=1")), Some("/a%2Fb//c?x=1".to_owned()));
        let moved = with_slash(&format!("{base}?x=1").parse().unwrap());
        assert_eq!(moved.headers()[LOCATION], format!("{base}/?x=1"));
    }
}
