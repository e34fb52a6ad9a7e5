//! Bodies to values: JSON, YAML and Kubernetes' protobuf, with limits.

mod json;
mod protobuf;
mod yaml;

use serde_json::Value;

pub use json::decode_json;
pub use protobuf::decode_protobuf;
pub use yaml::decode_yaml;

/// A decoded body, and the paths of keys that were there twice (the last one counts).
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub value: Value,
    pub duplicates: Vec<String>,
}

#[cfg(test)]
mod tests;
