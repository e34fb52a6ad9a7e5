//! Aggregated discovery: everything in two documents, `/api` and `/apis`, with an ETag.

use control_api::{Resource, resource};
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, Response};
use serde_json::{Value, json};

use super::{Subresource, served_groups, verbs};
use crate::respond::{self, Body};

/// The document, or nothing where the client did not ask for it.
pub fn answer(headers: &HeaderMap, core: bool) -> Option<Response<Body>> {
    let (version, kind) = wanted(headers)?;
    let body = document(version, core).to_string();
    let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let etag = HeaderValue::try_from(format!("\"{hex}\"")).ok()?;
    let mut response =
        if headers.get(IF_NONE_MATCH) == Some(&etag) { respond::not_modified() } else { respond::document(kind, body) };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(ETAG, etag);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Some(response)
}

/// The first entry of `Accept` that is plain JSON or a discovery version known here.
fn wanted(headers: &HeaderMap) -> Option<(&'static str, &'static str)> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    for entry in accept.split(',').filter(|entry| entry.trim().starts_with("application/json")) {
        if !entry.contains("as=APIGroupDiscoveryList") {
            return None;
        }
        if entry.contains("v=v2beta1") {
            return Some(("v2beta1", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"));
        }
        if entry.contains("v=v2") {
            return Some(("v2", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"));
        }
    }
    None
}

fn document(version: &str, core: bool) -> Value {
    let items: Vec<Value> = if core {
        vec![item("", &["v1"])]
    } else {
        served_groups().iter().map(|(group, versions)| item(group, versions)).collect()
    };
    let api_version = format!("apidiscovery.k8s.io/{version}");
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items})
}

fn item(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let rows = resource::served().filter(|row| row.group == group && row.version == *version);
            let resources: Vec<Value> = rows.map(entry).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

fn entry(row: &Resource) -> Value {
    let mut value = json!({
        "resource": row.plural,
        "responseKind": {"group": row.group, "version": row.version, "kind": row.kind},
        "scope": if row.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": verbs(row),
    });
    if !row.short_names.is_empty() {
        value["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        value["categories"] = json!(row.categories);
    }
    if !row.subresources.is_empty() {
        value["subresources"] = row.subresources.iter().map(|name| subresource(row, name)).collect();
    }
    value
}

fn subresource(row: &Resource, name: &str) -> Value {
    let about = Subresource::of(row, name);
    let kind = json!({"group": about.group, "version": about.version, "kind": about.kind});
    json!({"subresource": name, "responseKind": kind, "verbs": about.verbs})
}
