//! What a body says of itself against what the address says, and metadata that only the server sets.

use control_api::schema::{FieldValidation, check_body};
use control_api::{Resource, Status};
use serde_json::{Map, Value, json};

use super::Ask;

/// Metadata that an update cannot change.
const KEPT: [&str; 5] = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName"];

/// Text at `metadata.FIELD`, or the empty string.
pub fn metadata_text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// The metadata of an object, made where it is missing.
pub fn metadata(object: &mut Value) -> Result<&mut Map<String, Value>, Status> {
    let fields = object.as_object_mut().ok_or_else(|| Status::bad_request("the body is not an object"))?;
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    metadata.as_object_mut().ok_or_else(|| Status::bad_request("metadata is not an object"))
}

/// Checks kind and version, field by field the schema, and drops what is not stored. Returns warnings.
pub fn check(ask: &Ask, object: &mut Value) -> Result<Vec<String>, Status> {
    let resource = ask.resource;
    check_kind(resource, object)?;
    let mode = match ask.options.field_validation.as_str() {
        "Strict" => FieldValidation::Strict,
        "Ignore" => FieldValidation::Ignore,
        _ => FieldValidation::Warn,
    };
    let warnings = check_body(object, resource, &ask.options.duplicate_fields, mode)?;
    let metadata = metadata(object)?;
    metadata.shift_remove("managedFields");
    metadata.shift_remove("selfLink");
    Ok(warnings)
}

/// Fills in `apiVersion` and `kind`, or refuses others.
fn check_kind(resource: &Resource, object: &mut Value) -> Result<(), Status> {
    let api_version = resource.api_version();
    let found_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let found_kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if (!found_version.is_empty() && found_version != api_version)
        || (!found_kind.is_empty() && found_kind != resource.kind)
    {
        return Err(Status::bad_request(format!(
            "the API version in the data ({found_version}, Kind={found_kind}) does not match the expected API version \
             ({api_version}, Kind={})",
            resource.kind
        )));
    }
    let fields = object.as_object_mut().ok_or_else(|| Status::bad_request("the body is not an object"))?;
    if found_version.is_empty() || found_kind.is_empty() {
        let rest = std::mem::take(fields);
        fields.insert("apiVersion".to_owned(), json!(api_version));
        fields.insert("kind".to_owned(), json!(resource.kind));
        fields.extend(rest.into_iter().filter(|(name, _)| name != "apiVersion" && name != "kind"));
    }
    Ok(())
}

/// The body's namespace must be the address's.
pub fn check_namespace(ask: &Ask, object: &mut Value) -> Result<(), Status> {
    let namespaced = ask.resource.namespaced();
    let metadata = metadata(object)?;
    let found = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    if namespaced && !found.is_empty() && found != ask.namespace {
        let message = format!(
            "the namespace of the provided object does not match the namespace sent on the request ({found} != {})",
            ask.namespace
        );
        return Err(Status::bad_request(message));
    }
    if namespaced {
        metadata.insert("namespace".to_owned(), json!(ask.namespace));
    } else {
        metadata.shift_remove("namespace");
    }
    Ok(())
}

/// The body's name must be the address's.
pub fn check_name(ask: &Ask, object: &mut Value) -> Result<(), Status> {
    let metadata = metadata(object)?;
    let found = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    if !found.is_empty() && found != ask.name {
        let message = format!("the name of the object ({found}) does not match the name on the URL ({})", ask.name);
        return Err(Status::bad_request(message));
    }
    metadata.insert("name".to_owned(), json!(ask.name));
    Ok(())
}

/// Carries over from `old` what an update cannot change.
pub fn keep(new: &mut Value, old: &Value) -> Result<(), Status> {
    let metadata = metadata(new)?;
    for field in KEPT {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.shift_remove(field),
        };
    }
    Ok(())
}
