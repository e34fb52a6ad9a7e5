//! How a node's word is merged into a status that others write to as well. Pure.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The conditions that Kubernetes' node lifecycle marks unknown.
const SILENT_CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Conditions of a pod that the agent speaks for: absent in its report means gone.
const AGENT_POD_CONDITIONS: [&str; 4] = ["Ready", "ContainersReady", "Initialized", "PodReadyToStartContainers"];

/// What a greeting may say of the node. Only the first report makes it Ready: by then its network is up and it serves
/// logs and exec. One that was Ready stays so while its agent restarts.
pub fn greeting(old: &Value, told: &Value, now: Timestamp) -> Value {
    let is_ready = |condition: &Value| condition["type"] == "Ready";
    let kept = list(old.get("conditions")).into_iter().find(is_ready);
    let mut new = told.clone();
    if kept.as_ref().is_some_and(|condition| condition["status"] == "True") {
        return new;
    }
    let not_yet = || {
        json!({
            "type": "Ready", "status": "False", "reason": "KubeletNotReady",
            "message": "container runtime network not ready", "lastHeartbeatTime": seconds(now),
            "lastTransitionTime": seconds(now),
        })
    };
    for condition in new.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        if is_ready(condition) && condition["status"] == "True" {
            *condition = kept.clone().unwrap_or_else(not_yet);
        }
    }
    new
}

/// The status that `report` leaves in place of `old`: the agent's fields are the report's; conditions of others stay.
pub fn merge_pod(old: &Value, report: &Value) -> Value {
    let mut new = report.clone();
    let foreign = |kind: &str| !AGENT_POD_CONDITIONS.contains(&kind);
    if let Some(fields) = new.as_object_mut() {
        keep_conditions(fields, old, foreign);
        for field in ["qosClass", "nominatedNodeName", "observedGeneration", "resize"] {
            if let (false, Some(value)) = (fields.contains_key(field), old.get(field)) {
                fields.insert(field.to_owned(), value.clone());
            }
        }
    }
    new
}

/// The same for a Node: fields that the report does not have stay too.
pub fn merge_node(old: &Value, report: &Value) -> Value {
    let mut fields = old.as_object().cloned().unwrap_or_default();
    for (name, value) in report.as_object().into_iter().flatten() {
        fields.insert(name.clone(), value.clone());
    }
    keep_conditions(&mut fields, old, |_| true);
    Value::Object(fields)
}

/// Puts conditions of `old` that `fields` does not have behind those it has.
fn keep_conditions(fields: &mut Map<String, Value>, old: &Value, keep: impl Fn(&str) -> bool) {
    let reported = list(fields.get("conditions"));
    let has = |kind: &Value| reported.iter().any(|condition| condition["type"] == *kind);
    let mut all = reported.clone();
    let kept = list(old.get("conditions"));
    all.extend(kept.into_iter().filter(|old| !has(&old["type"]) && keep(old["type"].as_str().unwrap_or_default())));
    if !all.is_empty() {
        fields.insert("conditions".to_owned(), Value::Array(all));
    }
}

fn list(value: Option<&Value>) -> Vec<Value> {
    value.and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Whether a Node's status says the same, the time of the last heartbeat aside: that alone is not worth a write.
pub fn same_node(old: &Value, new: &Value) -> bool {
    without_heartbeat(old) == without_heartbeat(new)
}

fn without_heartbeat(status: &Value) -> Value {
    let mut status = status.clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.remove("lastHeartbeatTime");
        }
    }
    status
}

/// The status of a node that stopped reporting; `None` where it already says so.
pub fn silence(old: &Value, now: Timestamp) -> Option<Value> {
    let mut status = if old.is_object() { old.clone() } else { json!({}) };
    let mut conditions = list(status.get("conditions"));
    let mut changed = false;
    for kind in SILENT_CONDITIONS {
        let at = conditions.iter().position(|condition| condition["type"] == kind);
        if at.is_some_and(|at| conditions[at]["status"] == "Unknown") {
            continue;
        }
        changed = true;
        let mut condition = json!({
            "type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.", "lastTransitionTime": seconds(now),
        });
        match at {
            Some(at) => {
                if let Some(heartbeat) = conditions[at].get("lastHeartbeatTime") {
                    condition["lastHeartbeatTime"] = heartbeat.clone();
                }
                conditions[at] = condition;
            }
            None => conditions.push(condition),
        }
    }
    status["conditions"] = Value::Array(conditions);
    changed.then_some(status)
}

/// `metav1.Time`.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `metav1.MicroTime`.
pub fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_silent(status: &Value) -> bool {
        list(status.get("conditions"))
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "Unknown")
    }

    #[test]
    fn the_schedulers_condition_survives_a_report_and_the_agents_own_is_replaced() {
        let old = json!({"qosClass": "Burstable", "message": "old", "conditions": [
            {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}]});
        let report = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let expected = json!({"phase": "Running", "qosClass": "Burstable", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]});
        assert_eq!(merge_pod(&old, &report), expected);
    }

    #[test]
    fn a_greeting_makes_no_node_ready_and_leaves_one_that_was() {
        let condition = |status: &str| json!({"conditions": [{"type": "Ready", "status": status}]});
        let greeted = |old: &Value| {
            let new = greeting(old, &condition("True"), Timestamp::UNIX_EPOCH);
            new["conditions"][0]["status"].as_str().unwrap().to_owned()
        };
        assert_eq!(greeted(&json!({})), "False");
        assert_eq!(greeted(&condition("False")), "False");
        assert_eq!(greeted(&condition("Unknown")), "Unknown");
        assert_eq!(greeted(&condition("True")), "True");
    }

    #[test]
    fn silence_is_told_once_and_ended_by_a_report() {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "x"}]});
        let silent = silence(&ready, Timestamp::UNIX_EPOCH).unwrap();
        assert!(is_silent(&silent));
        assert_eq!(silence(&silent, Timestamp::UNIX_EPOCH), None);
        assert!(!is_silent(&merge_node(&silent, &ready)));
    }
}
