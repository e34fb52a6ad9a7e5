//! One line of a watch's answer.

use bytes::{Bytes, BytesMut};
use control_api::{Resource, Status};
use control_store::Object;
use serde_json::{Value, json};

use crate::negotiate::{Include, Shape, parse};
use crate::table;

/// Writes `{"type":...,"object":...}` lines in one shape.
pub struct Writer {
    resource: &'static Resource,
    shape: Shape,
    /// Only the first Table carries its columns.
    columns_due: bool,
}

fn line(out: &mut BytesMut, kind: &str, object: &[u8]) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
}

impl Writer {
    pub fn new(resource: &'static Resource, shape: Shape) -> Self {
        Self { resource, shape, columns_due: true }
    }

    fn body(&mut self, object: &Object) -> Result<Bytes, Status> {
        match self.shape {
            Shape::Table(include) => table::of_one(object, include, std::mem::take(&mut self.columns_due)),
            shape => shape.one(object),
        }
    }

    pub fn event(&mut self, out: &mut BytesMut, kind: &str, object: &Object) -> Result<(), Status> {
        let body = self.body(object)?;
        line(out, kind, &body);
        Ok(())
    }

    /// `object` left the selection at `revision`: told as deleted, in its last state that was selected.
    pub fn left(&mut self, out: &mut BytesMut, object: &Object, revision: u64) -> Result<(), Status> {
        let mut value = parse(object)?;
        value["metadata"]["resourceVersion"] = json!(revision.to_string());
        let moved =
            Object { key: object.key.clone(), revision, json: value.to_string().into(), meta: object.meta.clone() };
        self.event(out, "DELETED", &moved)
    }

    pub fn bookmark(&mut self, out: &mut BytesMut, revision: u64, initial_end: bool) {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = self.bookmark_object(metadata, revision);
        line(out, "BOOKMARK", object.to_string().as_bytes());
    }

    fn bookmark_object(&mut self, metadata: Value, revision: u64) -> Value {
        let plain = |metadata| json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata});
        match self.shape {
            Shape::Object => plain(metadata),
            Shape::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Shape::Table(include) => {
                let columns =
                    if std::mem::take(&mut self.columns_due) { table::columns(self.resource) } else { Value::Null };
                let cells = vec![Value::Null; control_api::table::columns(self.resource).len()];
                let mut row = json!({"cells": cells});
                if include != Include::None {
                    row["object"] = json!({
                        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                    });
                }
                json!({
                    "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"resourceVersion": revision.to_string()},
                    "columnDefinitions": columns, "rows": [row],
                })
            }
        }
    }

    pub fn error(&self, out: &mut BytesMut, status: &Status) {
        line(out, "ERROR", status.to_value().to_string().as_bytes());
    }
}
