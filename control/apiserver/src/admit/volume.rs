//! Volumes and claims carry finalizers that keep them while they are used; the volume controller takes them off.

use serde_json::{Value, json};

pub const CLAIM: &str = "kubernetes.io/pvc-protection";
pub const VOLUME: &str = "kubernetes.io/pv-protection";

/// Adds the finalizer where it is missing.
pub fn protect(object: &mut Value, finalizer: &str) {
    let metadata = &mut object["metadata"];
    let mut finalizers = metadata["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.iter().any(|known| known == finalizer) {
        finalizers.push(json!(finalizer));
        metadata["finalizers"] = finalizers.into();
    }
}
