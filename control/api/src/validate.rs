//! Validation on create, on update and on status updates, in Kubernetes' field paths and words.

use serde_json::Value;

use crate::field::FieldError;
use crate::resource::Resource;

/// Complaints about a new object, after defaulting and [`crate::strategy::prepare_create`].
pub fn create(_resource: &Resource, _object: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// Complaints about `new` as the successor of `old`, after defaulting and [`crate::strategy::prepare_update`].
pub fn update(_resource: &Resource, _new: &Value, _old: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// Complaints about `new` as the successor of `old` through the `status` subresource.
pub fn update_status(_resource: &Resource, _new: &Value, _old: &Value) -> Vec<FieldError> {
    Vec::new()
}
