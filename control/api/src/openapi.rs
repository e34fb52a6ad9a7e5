//! OpenAPI v3 documents, one a group and version, as kubectl's explain, apply and diff read them: the schemas of the
//! kinds and of all that they reach, and the operations with the parameters that clients look for.
//!
//! Absent on purpose: responses, security, and the parameters that no known client looks up.

mod paths;
mod schemas;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::resource::{self, Resource};
use crate::schema;

/// `(path, hash)` of every document: `api/v1`, `apis/apps/v1`.
pub fn v3_index() -> Vec<(String, String)> {
    let versions: BTreeSet<(&str, &str)> = resource::all().iter().map(|row| (row.group, row.version)).collect();
    let entry = |(group, version): (&str, &str)| {
        let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
        (path, hash(group, version))
    };
    versions.into_iter().map(entry).collect()
}

/// The document of one group (empty for core) and version, as JSON. Built anew on every call: the caller caches it.
pub fn v3_document(group: &str, version: &str) -> Option<Vec<u8>> {
    let resources = of(group, version);
    if resources.is_empty() {
        return None;
    }
    let mut paths = Map::new();
    for resource in &resources {
        paths::add(&mut paths, resource);
    }
    let document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.35.0"},
        "paths": paths,
        "components": {"schemas": schemas::reached_by(group, version, &resources)},
    });
    serde_json::to_vec(&document).ok()
}

fn of(group: &str, version: &str) -> Vec<&'static Resource> {
    resource::all().iter().copied().filter(|row| row.group == group && row.version == version).collect()
}

/// Stands for the document's content: the table, the resources served, and this program's version.
fn hash(group: &str, version: &str) -> String {
    let mut hash = Fnv::new();
    hash.add(schema::packed());
    hash.add(env!("CARGO_PKG_VERSION").as_bytes());
    for resource in of(group, version) {
        hash.add(resource.group_resource().as_bytes());
        resource.subresources.iter().for_each(|name| hash.add(name.as_bytes()));
    }
    format!("{:016X}", hash.0)
}

/// FNV-1a: the hash only tells contents apart, nobody attacks it.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(b"\0") {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// `$ref` to a component.
fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

#[cfg(test)]
mod tests;
