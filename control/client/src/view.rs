//! Typed views of stored bytes.

use control_store::Object;
use serde::de::DeserializeOwned;

/// Parses an object into a k8s-openapi struct. A view drops unknown fields: read from it, write by patches.
pub fn view<T: DeserializeOwned>(object: &Object) -> Result<T, serde_json::Error> {
    serde_json::from_slice(&object.json)
}
