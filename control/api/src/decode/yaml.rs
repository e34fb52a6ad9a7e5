//! YAML to a value. kubectl turns YAML into JSON by itself; only apply patches and other clients send it.

use super::Decoded;
use super::json::decode;
use crate::Status;

/// Decodes a YAML body of one document. JSON is YAML, and read as such much faster. The caller limits its size.
pub fn decode_yaml(body: &[u8]) -> Result<Decoded, Status> {
    if body.trim_ascii_start().starts_with(b"{")
        && let Ok(decoded) = super::decode_json(body)
    {
        return Ok(decoded);
    }
    let refuse = |why: &dyn std::fmt::Display| Status::bad_request(format!("error converting YAML to JSON: {why}"));
    let text = std::str::from_utf8(body).map_err(|error| refuse(&error))?;
    let options = serde_saphyr::options! { duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins };
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| decode(deserializer))
        .map_err(|error| refuse(&error))
}
