//! `metrics.k8s.io/v1beta1`: what nodes and pods use, asked of the nodes when somebody reads it and kept nowhere.
//!
//! As with a metrics-server, what cannot be measured now (a node that is away, a pod that does not run) is left out of a
//! list, and is not found by its name.

use std::collections::HashMap;
use std::sync::Arc;

use control_api::resource::{NODE_METRICS, NODES, PODS};
use control_api::usage::{NodeUsage, PodUsage, Usage, UsageRequest};
use control_api::{Reason, Resource, Status};
use control_store::{Key, Object, Page};
use futures_util::{StreamExt, stream};
use http::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::log;
use crate::negotiate::parse;
use crate::pipeline::Incomer;
use crate::respond::{self, Body};
use crate::route::ResourcePath;
use crate::selection::Selection;

/// Nodes asked at the same time by one request.
const ASKED_AT_ONCE_MAX: usize = 64;

pub async fn answer(api: &Arc<Api>, at: &ResourcePath, incomer: &Incomer) -> Result<Response<Body>, Status> {
    if !matches!(incomer.route.verb, "get" | "list") || incomer.query.flag("watch") {
        let message = "the server does not allow this method on the requested resource";
        return Err(Status::new(Reason::MethodNotAllowed, message));
    }
    let measured = at.resource == &NODE_METRICS;
    let source = if measured { &NODES } else { &PODS };
    let selection = Selection::of(&ResourcePath { resource: source, ..at.clone() }, &incomer.query)?;
    let namespace = Some(&*at.namespace).filter(|namespace| !namespace.is_empty());
    let objects: Vec<Arc<Object>> = if at.name.is_empty() {
        api.store().list(source, namespace, &Page::default()).items
    } else {
        api.store().get(&Key::new(source, &at.namespace, &at.name)).into_iter().collect()
    };
    let wanted: Vec<Arc<Object>> = objects.into_iter().filter(|object| selection.matches(object)).collect();
    let items = if measured { nodes(api, &wanted).await? } else { pods(api, &wanted).await? };
    if at.name.is_empty() {
        let kind = format!("{}List", at.resource.kind);
        let version = at.resource.api_version();
        return Ok(respond::value(&json!({"kind": kind, "apiVersion": version, "metadata": {}, "items": items})));
    }
    let found = items.into_iter().next().ok_or_else(|| Status::not_found(at.resource, &at.name))?;
    Ok(respond::value(&found))
}

/// Nodes are asked beside each other; those that do not answer are not in the result.
async fn ask(api: &Arc<Api>, names: Vec<String>) -> Result<HashMap<String, NodeUsage>, Status> {
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let nodes = &api.nodes().ok_or_else(log::no_nodes)?;
    let asked = stream::iter(names).map(|name| async move {
        let answer = nodes.usage(&name, UsageRequest { rates: true }).await;
        answer
            .map_err(|error| tracing::debug!(name, error = error.message, "a node tells no figures"))
            .ok()
            .map(|told| (name, told))
    });
    Ok(asked.buffer_unordered(ASKED_AT_ONCE_MAX).filter_map(std::future::ready).collect().await)
}

async fn nodes(api: &Arc<Api>, wanted: &[Arc<Object>]) -> Result<Vec<Value>, Status> {
    let told = ask(api, wanted.iter().map(|object| object.key.name.to_string()).collect()).await?;
    let measured = wanted.iter().filter_map(|object| {
        let told = told.get(&*object.key.name)?;
        let mut item = item(&NODE_METRICS, object, told);
        item.insert("usage".to_owned(), usage(&told.usage));
        Some(Value::Object(item))
    });
    Ok(measured.collect())
}

async fn pods(api: &Arc<Api>, wanted: &[Arc<Object>]) -> Result<Vec<Value>, Status> {
    let mut places = Vec::new();
    for object in wanted {
        let pod = parse(object)?;
        if let (Some(node), "Running") =
            (pod["spec"]["nodeName"].as_str(), pod["status"]["phase"].as_str().unwrap_or_default())
        {
            places.push((object, node.to_owned()));
        }
    }
    let mut names: Vec<String> = places.iter().map(|(_, node)| node.clone()).collect();
    names.sort();
    names.dedup();
    let told = ask(api, names).await?;
    // A node is believed only about pods that are its own.
    let pods =
        told.iter().flat_map(|(name, node)| node.pods.iter().map(move |pod| ((&**name, &*pod.uid), (node, pod))));
    let by_place: HashMap<(&str, &str), (&NodeUsage, &PodUsage)> = pods.collect();
    let measured = places.iter().filter_map(|(object, name)| {
        let (node, pod) = by_place.get(&(&**name, &*object.meta.uid))?;
        let containers: Vec<Value> = pod
            .containers
            .iter()
            .map(|container| json!({"name": container.name, "usage": usage(&container.usage)}))
            .collect();
        let mut item = item(&control_api::resource::POD_METRICS, object, node);
        item.insert("containers".to_owned(), containers.into());
        (!pod.containers.is_empty()).then_some(Value::Object(item))
    });
    Ok(measured.collect())
}

fn item(resource: &Resource, object: &Object, told: &NodeUsage) -> Map<String, Value> {
    let mut metadata = json!({"name": &*object.key.name, "creationTimestamp": time(told.time_ms)});
    if !object.key.namespace.is_empty() {
        metadata["namespace"] = json!(&*object.key.namespace);
    }
    if !object.meta.labels.is_empty() {
        metadata["labels"] = json!(object.meta.labels);
    }
    let mut item = Map::new();
    item.insert("kind".to_owned(), json!(resource.kind));
    item.insert("apiVersion".to_owned(), json!(resource.api_version()));
    item.insert("metadata".to_owned(), metadata);
    item.insert("timestamp".to_owned(), json!(time(told.time_ms)));
    item.insert("window".to_owned(), json!(format!("{}s", told.window_ms as f64 / 1e3)));
    item
}

/// In the units that a metrics-server has them.
fn usage(usage: &Usage) -> Value {
    let nanocores = usage.cpu_nanocores.unwrap_or(0);
    json!({"cpu": format!("{nanocores}n"), "memory": format!("{}Ki", usage.memory_working_set_bytes / 1024)})
}

/// Milliseconds since 1970 as Kubernetes writes a time.
pub fn time(ms: i64) -> String {
    let time = Timestamp::from_second(ms.div_euclid(1000)).unwrap_or_default();
    time.to_string()
}
