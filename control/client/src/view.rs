//! Typed views of stored bytes.

use control_api::view::View;
use control_store::Object;

/// Parses an object into a view of its kind. A view drops what it does not know: read from it, write by patches.
pub fn view<T: View>(object: &Object) -> Result<T, serde_json::Error> {
    T::parse(&object.json)
}
