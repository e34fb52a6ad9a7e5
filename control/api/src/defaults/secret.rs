//! Defaults of Secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::object::{child, fill};

/// The type is Opaque; `stringData` is folded into `data`, over what is there.
pub(super) fn secret(object: &mut Value) {
    fill(object, "type", "Opaque");
    let folded = object.as_object_mut().and_then(|fields| fields.shift_remove("stringData"));
    let Some(Value::Object(strings)) = folded else { return };
    if strings.is_empty() {
        return;
    }
    let Some(data) = child(object, "data") else { return };
    for (key, value) in strings {
        let text = value.as_str().unwrap_or("");
        data[key] = Value::String(STANDARD.encode(text));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn string_data_is_folded_over_data() {
        let mut object = json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "z"}});
        secret(&mut object);
        assert_eq!(object, json!({"type": "Opaque", "data": {"a": "eg==", "b": "eQ=="}}));
    }
}
