//! The shape of an answer: the object itself, a Table, or its metadata alone.

use bytes::Bytes;
use control_api::Status;
use control_store::Object;
use http::HeaderMap;
use http::header::ACCEPT;
use serde_json::{Value, json};

use crate::query::Query;
use crate::table;

/// What a Table's rows carry beside their cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    None,
    Metadata,
    Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Object,
    Metadata,
    Table(Include),
}

/// The parameters of one entry of `Accept`.
fn parameter<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    entry
        .split(';')
        .skip(1)
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, v)| v)
}

impl Shape {
    /// The first entry of `Accept` that can be served. Protobuf answers are not made: JSON is always accepted.
    pub fn of(headers: &HeaderMap, query: &Query) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        for entry in accept.split(',') {
            let kind = entry.split(';').next().unwrap_or_default().trim();
            let group = parameter(entry, "g").unwrap_or_default();
            match parameter(entry, "as") {
                Some(_) if kind != "application/json" || group != "meta.k8s.io" => {}
                Some("Table") if parameter(entry, "v") == Some("v1") => {
                    return Self::Table(match query.text("includeObject") {
                        "None" => Include::None,
                        "Object" => Include::Object,
                        _ => Include::Metadata,
                    });
                }
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => return Self::Metadata,
                Some(_) => {}
                None => return Self::Object,
            }
        }
        Self::Object
    }

    /// One object in this shape.
    pub fn one(self, object: &Object) -> Result<Bytes, Status> {
        match self {
            Self::Object => Ok(object.json.clone()),
            Self::Metadata => Ok(metadata(&parse(object)?).to_string().into()),
            Self::Table(include) => table::of_one(object, include, true),
        }
    }
}

/// An object's bytes, parsed.
pub fn parse(object: &Object) -> Result<Value, Status> {
    serde_json::from_slice(&object.json)
        .map_err(|error| Status::internal(format!("{} cannot be read: {error}", object.key.name)))
}

/// `PartialObjectMetadata` of an object.
pub fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}
