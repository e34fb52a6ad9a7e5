//! What Kubernetes' admission plugins fill into a new pod: the name of the account, DefaultTolerationSeconds,
//! Priority.

use serde_json::{Map, Value, json};

/// How long a pod stays on a node that is gone.
const TOLERATION_SECONDS: i64 = 300;
const NODE_TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Fills in what a client left out.
pub fn default(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let named = spec.get("serviceAccountName").and_then(Value::as_str).filter(|name| !name.is_empty());
    // `serviceAccount` is the deprecated name of the same field; both are always set.
    let account = named.or_else(|| spec.get("serviceAccount").and_then(Value::as_str)).unwrap_or("default").to_owned();
    let account = if account.is_empty() { "default".to_owned() } else { account };
    spec.insert("serviceAccountName".to_owned(), json!(account));
    spec.insert("serviceAccount".to_owned(), json!(account));
    spec.entry("priority").or_insert(json!(0));
    spec.entry("preemptionPolicy").or_insert(json!("PreemptLowerPriority"));
    tolerate(spec);
}

fn tolerate(spec: &mut Map<String, Value>) {
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(tolerations) = tolerations.as_array_mut() else { return };
    for taint in NODE_TAINTS {
        let covers = |toleration: &Value| {
            let key = toleration["key"].as_str().unwrap_or_default();
            let effect = toleration["effect"].as_str().unwrap_or_default();
            (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_gets_its_account_and_its_tolerations_once() {
        let mut pod = json!({"spec": {"containers": []}});
        default(&mut pod);
        let once = pod.clone();
        default(&mut pod);
        assert_eq!(pod, once);
        assert_eq!(pod["spec"]["serviceAccountName"], "default");
        assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn a_toleration_of_everything_is_enough() {
        let mut pod = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        default(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(1));
    }
}
