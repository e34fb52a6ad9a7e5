//! What the server itself decides about an object before validation: status on create, generation, what a status
//! update may not touch.

use serde_json::Value;

use crate::resource::Resource;

/// Resets what a client may not set on create. Call after decoding, before [`crate::validate::create`].
pub fn prepare_create(_resource: &Resource, _object: &mut Value) {}

/// Restores in `new` what this kind of update may not touch, and bumps the generation where the spec changed.
/// `subresource` is `None` or `Some("status")`.
pub fn prepare_update(_resource: &Resource, _new: &mut Value, _old: &Value, _subresource: Option<&str>) {}
