//! Which pods a node takes while it is short of something, as the kubelet has it. Pure.
//!
//! The Node's taints keep most of them away; those that tolerate every taint (a DaemonSet's) arrive.

use control_api::view::core::{Pod, Toleration};

use crate::pressure::Pressure;
use crate::resources::{QosClass, qos};

/// That of `system-cluster-critical`.
const CRITICAL_PRIORITY: i64 = 2_000_000_000;
/// Where a pod comes from; absent or `api` for one of the API's.
pub const SOURCE: &str = "kubernetes.io/config.source";
const MEMORY_TAINT: &str = "node.kubernetes.io/memory-pressure";

/// Why the pod is not taken, in the kubelet's words.
pub fn refusal(pod: &Pod, pressure: Pressure) -> Option<String> {
    let Pressure { memory, disk, pids } = pressure;
    let conditions = [(memory, "MemoryPressure"), (disk, "DiskPressure"), (pids, "PIDPressure")];
    let present: Vec<&str> = conditions.iter().filter(|(present, _)| *present).map(|(_, name)| *name).collect();
    if present.is_empty() || is_critical(pod) {
        return None;
    }
    let memory_alone = memory && present.len() == 1;
    if memory_alone && (qos(pod) != QosClass::BestEffort || tolerates_memory_pressure(pod)) {
        return None;
    }
    Some(format!("The node had condition: [{}]. ", present.join(" ")))
}

/// Whether the node or the cluster needs it: such pods are neither refused nor evicted.
pub fn is_critical(pod: &Pod) -> bool {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default();
    i64::from(priority) >= CRITICAL_PRIORITY || is_static(pod)
}

/// A pod that runs here because a file says so.
pub fn is_static(pod: &Pod) -> bool {
    let source = pod.metadata.annotations.as_ref().and_then(|all| all.get(SOURCE));
    source.is_some_and(|source| source != "api")
}

fn tolerates_memory_pressure(pod: &Pod) -> bool {
    let tolerates = |toleration: &Toleration| {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (key, effect, value) = (text(&toleration.key), text(&toleration.effect), text(&toleration.value));
        let exists = toleration.operator.as_deref() == Some("Exists");
        let met = if key.is_empty() { exists } else { key == MEMORY_TAINT && (exists || value.is_empty()) };
        met && (effect.is_empty() || effect == "NoSchedule")
    };
    pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).any(tolerates)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NONE: Pressure = Pressure { memory: false, disk: false, pids: false };
    const MEMORY: Pressure = Pressure { memory: true, ..NONE };
    const DISK: Pressure = Pressure { disk: true, ..NONE };

    fn pod(spec: Value, annotations: Value) -> Pod {
        let mut pod = json!({"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "c"}]}});
        for (key, value) in spec.as_object().expect("fields") {
            pod["spec"][key] = value.clone();
        }
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn a_lack_of_memory_keeps_best_effort_pods_away_that_do_not_tolerate_it() {
        let plain = pod(json!({}), json!({}));
        assert_eq!(refusal(&plain, NONE), None);
        assert_eq!(refusal(&plain, MEMORY).unwrap(), "The node had condition: [MemoryPressure]. ");
        let asking = json!({"containers": [{"name": "c", "resources": {"requests": {"memory": "1Mi"}}}]});
        assert_eq!(refusal(&pod(asking, json!({})), MEMORY), None);
        for (toleration, is_taken) in [
            (json!({"operator": "Exists"}), true),
            (json!({"key": MEMORY_TAINT, "operator": "Exists", "effect": "NoSchedule"}), true),
            (json!({"key": MEMORY_TAINT}), true),
            (json!({"key": MEMORY_TAINT, "operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "node.kubernetes.io/disk-pressure", "operator": "Exists"}), false),
        ] {
            let tolerant = pod(json!({"tolerations": [toleration]}), json!({}));
            assert_eq!(refusal(&tolerant, MEMORY).is_none(), is_taken, "{toleration}");
            assert!(refusal(&tolerant, DISK).is_some(), "nobody tolerates a full disk");
        }
    }

    #[test]
    fn a_lack_of_anything_else_keeps_all_away_but_what_is_critical() {
        let both = Pressure { memory: true, pids: true, ..NONE };
        let asking = json!({"containers": [{"name": "c", "resources": {"requests": {"memory": "1Mi"}}}]});
        let words = refusal(&pod(asking, json!({})), both).unwrap();
        assert_eq!(words, "The node had condition: [MemoryPressure PIDPressure]. ");
        assert_eq!(refusal(&pod(json!({"priority": CRITICAL_PRIORITY}), json!({})), DISK), None);
        assert_eq!(refusal(&pod(json!({}), json!({SOURCE: "file"})), DISK), None);
        assert!(refusal(&pod(json!({}), json!({SOURCE: "api"})), DISK).is_some());
    }
}
