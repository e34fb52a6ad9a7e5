//! The `scale` subresource: `autoscaling/v1 Scale` of a Deployment or a ReplicaSet.

use serde_json::Value;

use crate::field::FieldError;

/// The Scale of a workload.
pub fn from_object(_object: &Value) -> Value {
    Value::Null
}

/// Writes a Scale's `spec.replicas` into the workload; complaints in Kubernetes' words.
pub fn apply(_scale: &Value, _object: &mut Value) -> Vec<FieldError> {
    Vec::new()
}
