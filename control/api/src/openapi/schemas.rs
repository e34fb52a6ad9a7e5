//! Component schemas from the table.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::reference;
use crate::resource::Resource;
use crate::schema::{Descriptions, Field, Kind, ListType, Shape, TypeRef, kinds};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const DURATION: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Duration";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// The schemas of the group's kinds and of everything they refer to.
pub(super) fn reached_by(group: &str, version: &str, resources: &[&Resource]) -> Map<String, Value> {
    let descriptions = Descriptions::load();
    let scaled = resources.iter().any(|resource| resource.subresources.contains(&"scale"));
    let wanted = |row: &(&str, &str, &str, TypeRef)| {
        (row.0 == group && row.1 == version) || row.2 == "DeleteOptions" || (scaled && row.2 == "Scale")
    };
    let mut queue: Vec<TypeRef> = kinds().filter(wanted).map(|row| row.3).collect();
    let mut seen: BTreeSet<&'static str> = queue.iter().map(|ty| ty.name()).collect();
    let mut schemas = basic();
    while let Some(ty) = queue.pop() {
        for next in ty.fields().filter(|field| !field.inline()).filter_map(Field::ty) {
            if seen.insert(next.name()) {
                queue.push(next);
            }
        }
        schemas.insert(ty.name().to_owned(), object(ty, &descriptions));
    }
    schemas
}

fn basic() -> Map<String, Value> {
    let string = |format: &str| json!({"type": "string", "format": format});
    let rows = [
        (QUANTITY, json!({"oneOf": [{"type": "string"}, {"type": "number"}]})),
        (INT_OR_STRING, json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})),
        (TIME, string("date-time")),
        (MICRO_TIME, string("date-time")),
        (DURATION, json!({"type": "string"})),
        (PATCH, json!({"type": "object"})),
    ];
    rows.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn object(ty: TypeRef, descriptions: &Descriptions) -> Value {
    let mut schema = json!({"type": "object"});
    let text = descriptions.of_type(ty);
    if !text.is_empty() {
        schema["description"] = json!(text);
    }
    let fields = || ty.fields().filter(|field| !field.inline());
    let required: Vec<&str> = fields().filter(|field| field.required()).map(Field::name).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let properties: Map<String, Value> =
        fields().map(|field| (field.name().to_owned(), property(field, descriptions.of_field(field)))).collect();
    if !properties.is_empty() {
        schema["properties"] = Value::Object(properties);
    }
    if ty.atomic() {
        schema["x-kubernetes-map-type"] = json!("atomic");
    }
    let named: Vec<Value> = kinds()
        .filter(|row| row.3 == ty)
        .map(|(group, version, kind, _)| json!({"group": group, "version": version, "kind": kind}))
        .collect();
    if !named.is_empty() {
        schema["x-kubernetes-group-version-kind"] = Value::Array(named);
    }
    schema
}

fn property(field: Field, description: &str) -> Value {
    let mut schema = match field.shape() {
        Shape::One => value(field, true),
        Shape::List => json!({"type": "array", "items": value(field, false)}),
        Shape::Map => json!({"type": "object", "additionalProperties": value(field, false)}),
        Shape::MapOfLists => {
            json!({"type": "object", "additionalProperties": {"type": "array", "items": value(field, false)}})
        }
    };
    if !description.is_empty() {
        schema["description"] = json!(description);
    }
    let list_type = field.list_type().map(|list| match list {
        ListType::Map => "map",
        ListType::Set => "set",
        ListType::Atomic => "atomic",
    });
    if let Some(list_type) = list_type {
        schema["x-kubernetes-list-type"] = json!(list_type);
    }
    let keys = field.list_map_keys();
    if !keys.is_empty() {
        schema["x-kubernetes-list-map-keys"] = json!(keys);
    }
    if let Some(key) = field.merge_key() {
        schema["x-kubernetes-patch-merge-key"] = json!(key);
    }
    let strategies = [("merge", field.patch_merge()), ("retainKeys", field.retain_keys())];
    let strategies: Vec<&str> = strategies.iter().filter(|(_, there)| *there).map(|(word, _)| *word).collect();
    if !strategies.is_empty() {
        schema["x-kubernetes-patch-strategy"] = json!(strategies.join(","));
    }
    if field.atomic_map() && field.ty().is_none() {
        schema["x-kubernetes-map-type"] = json!("atomic");
    }
    schema
}

/// A reference carries a description beside it only inside `allOf`.
fn value(field: Field, described: bool) -> Value {
    let refer = |name: &str| if described { json!({"allOf": [reference(name)]}) } else { reference(name) };
    match (field.kind(), field.ty()) {
        (Kind::Object, Some(ty)) => refer(ty.name()),
        (Kind::Quantity, _) => refer(QUANTITY),
        (Kind::IntOrString, _) => refer(INT_OR_STRING),
        (Kind::Time, _) => refer(TIME),
        (Kind::MicroTime, _) => refer(MICRO_TIME),
        (Kind::Duration, _) => refer(DURATION),
        (Kind::String, _) => json!({"type": "string"}),
        (Kind::Int32, _) => json!({"type": "integer", "format": "int32"}),
        (Kind::Int64, _) => json!({"type": "integer", "format": "int64"}),
        (Kind::Bool, _) => json!({"type": "boolean"}),
        (Kind::Double, _) => json!({"type": "number", "format": "double"}),
        (Kind::Bytes, _) => json!({"type": "string", "format": "byte"}),
        (Kind::Object | Kind::Any | Kind::Raw, _) => json!({"type": "object"}),
    }
}
