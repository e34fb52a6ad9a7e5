//! The `scale` subresource: `autoscaling/v1 Scale` of a Deployment, a ReplicaSet or a ReplicationController.

use serde_json::{Map, Value, json};

use crate::field::FieldError;
use crate::object::{get, integer, list, map, text};

/// The Scale of a workload.
pub fn from_object(object: &Value) -> Value {
    let mut metadata = Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = get(object, &format!("/metadata/{key}")) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": integer(object, "/spec/replicas").unwrap_or(0)},
        "status": {
            "replicas": integer(object, "/status/replicas").unwrap_or(0),
            "selector": selector_text(&pod_selector(object)),
        },
    })
}

/// Writes a Scale's `spec.replicas` into the workload; complaints in Kubernetes' words. The caller checks the Scale's
/// resourceVersion and uid against the object's.
pub fn apply(scale: &Value, object: &mut Value) -> Vec<FieldError> {
    let replicas = integer(scale, "/spec/replicas").unwrap_or(0);
    let mut wrong = Vec::new();
    let (named, name) = (text(scale, "/metadata/name"), text(object, "/metadata/name"));
    if !named.is_empty() && named != name {
        wrong.push(FieldError::invalid("metadata.name", &json!(named), "field is immutable"));
    }
    if replicas < 0 {
        let why = "must be greater than or equal to 0";
        wrong.push(FieldError::invalid("spec.replicas", &json!(replicas), why));
    }
    if wrong.is_empty() {
        object["spec"]["replicas"] = json!(replicas);
    }
    wrong
}

/// The selector of a workload's pods; a ReplicationController's own form of it is labels alone.
pub fn pod_selector(object: &Value) -> Value {
    let selector = get(object, "/spec/selector").cloned().unwrap_or_default();
    if text(object, "/kind") == "ReplicationController" { json!({"matchLabels": selector}) } else { selector }
}

/// A label selector in its query form, keys in order.
pub fn selector_text(selector: &Value) -> String {
    let mut terms = Vec::new();
    for (key, value) in map(selector, "/matchLabels").into_iter().flatten() {
        terms.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or(""))));
    }
    for expression in list(selector, "/matchExpressions") {
        let key = text(expression, "/key").to_owned();
        let mut values: Vec<&str> = list(expression, "/values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let term = match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        };
        terms.push((key, term));
    }
    terms.sort();
    terms.into_iter().map(|(_, term)| term).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_goes_to_and_from_a_workload() {
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "b", "labels": {"x": "y"}},
            "spec": {"replicas": 3, "selector": {
                "matchLabels": {"b": "1", "a": "2"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["z", "y"]}],
            }},
            "status": {"replicas": 2},
        });
        let mut scale = from_object(&object);
        let wanted = json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "a", "namespace": "b"},
            "spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "a=2,b=1,c in (y,z)"},
        });
        assert_eq!(scale, wanted);
        scale["spec"]["replicas"] = json!(5);
        assert_eq!(apply(&scale, &mut object), vec![]);
        assert_eq!(object["spec"]["replicas"], 5);
        scale["spec"]["replicas"] = json!(-1);
        assert_eq!(apply(&scale, &mut object).len(), 1);
    }
}
