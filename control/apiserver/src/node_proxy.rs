//! `nodes/NAME/proxy`: what a kubelet serves and monitoring asks for, made of what the node tells over its session.
//!
//! Absent on purpose: other paths, and other methods than reading.

mod exposition;
mod summary;

use std::sync::Arc;

use control_api::resource::PODS;
use control_api::usage::UsageRequest;
use control_api::{Reason, Status};
use control_store::{Key, Page};
use http::Response;
use serde_json::Value;

use crate::api::Api;
use crate::log;
use crate::negotiate::parse;
use crate::pipeline::Incomer;
use crate::respond::{self, Body};
use crate::route::ResourcePath;

/// As a kubelet says it.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub async fn answer(api: &Arc<Api>, at: &ResourcePath, incomer: &Incomer) -> Result<Response<Body>, Status> {
    if incomer.route.verb != "get" {
        let message = "the server does not allow this method on the requested resource: a node's proxy is read only";
        return Err(Status::new(Reason::MethodNotAllowed, message));
    }
    // `NAME:PORT` and `SCHEME:NAME:PORT` are the same here: a node has one port, and it is this connection.
    let parts: Vec<&str> = at.name.split(':').collect();
    let name = match parts.as_slice() {
        [name] | [name, _] | [_, name, _] => *name,
        _ => return Err(Status::bad_request(format!("invalid node request {:?}", at.name))),
    };
    if api.store().get(&Key::new(at.resource, "", name)).is_none() {
        return Err(Status::not_found(at.resource, name));
    }
    let nodes = api.nodes().ok_or_else(log::no_nodes)?;
    let usage = |rates| nodes.usage(name, UsageRequest { rates });
    // api, v1, nodes, NAME, proxy
    let path: Vec<&str> = incomer.route.path.split('/').filter(|part| !part.is_empty()).skip(5).collect();
    match path.as_slice() {
        ["stats", "summary"] => Ok(respond::value(&summary::render(name, &usage(true).await?))),
        ["metrics"] => Ok(respond::document(TEXT, usage(false).await?.agent_metrics)),
        ["metrics", "cadvisor"] => Ok(respond::document(TEXT, exposition::cadvisor(&usage(false).await?))),
        ["metrics", "resource"] => Ok(respond::document(TEXT, exposition::resource(&usage(false).await?))),
        ["healthz"] => usage(false).await.map(|_| respond::health(true, "ok".to_owned())),
        ["pods"] => Ok(respond::value(&pods(api, name)?)),
        _ => Err(Status::new(Reason::NotFound, "the node does not serve this path")),
    }
}

/// The pods bound to the node.
fn pods(api: &Api, node: &str) -> Result<Value, Status> {
    let mut items = Vec::new();
    for pod in api.store().list(&PODS, None, &Page::default()).items {
        let pod = parse(&pod)?;
        if pod["spec"]["nodeName"] == node {
            items.push(pod);
        }
    }
    Ok(serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}
