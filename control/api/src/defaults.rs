//! Defaulting: what Kubernetes fills into an object when a client leaves it out.

use serde_json::Value;

use crate::resource::Resource;

/// Fills in every default of `object`, which must have been decoded as `resource`. Idempotent.
pub fn apply(_resource: &Resource, _object: &mut Value) {}
