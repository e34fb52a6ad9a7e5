//! Defaults of what makes pods.

use serde_json::{Map, Value};

use crate::object::{child, fill, get};

use super::pod;

const MAX_UNAVAILABLE: &str = "25%";
const MAX_SURGE: &str = "25%";
const REVISION_HISTORY_LIMIT: i32 = 10;
const PROGRESS_DEADLINE_SECONDS: i32 = 600;

pub(super) fn deployment(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", REVISION_HISTORY_LIMIT);
    fill(spec, "progressDeadlineSeconds", PROGRESS_DEADLINE_SECONDS);
    if let Some(strategy) = child(spec, "strategy") {
        fill(strategy, "type", "RollingUpdate");
        let rolls = strategy["type"] == "RollingUpdate";
        if let Some(rolling) = rolls.then(|| child(strategy, "rollingUpdate")).flatten() {
            fill(rolling, "maxUnavailable", MAX_UNAVAILABLE);
            fill(rolling, "maxSurge", MAX_SURGE);
        }
    }
    template(spec);
}

pub(super) fn replica_set(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "replicas", 1);
    template(spec);
}

/// What it selects and its own labels are its template's, where it does not say.
pub(super) fn replication_controller(object: &mut Value) {
    replica_set(object);
    let Some(labels) = get(object, "/spec/template/metadata/labels").cloned() else { return };
    let empty = |value: Option<&Value>| value.and_then(Value::as_object).is_none_or(Map::is_empty);
    if empty(get(object, "/spec/selector"))
        && let Some(spec) = child(object, "spec")
    {
        spec["selector"] = labels.clone();
    }
    if empty(get(object, "/metadata/labels"))
        && let Some(metadata) = child(object, "metadata")
    {
        metadata["labels"] = labels;
    }
}

pub(super) fn daemon_set(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "revisionHistoryLimit", REVISION_HISTORY_LIMIT);
    if let Some(strategy) = child(spec, "updateStrategy") {
        fill(strategy, "type", "RollingUpdate");
        let rolls = strategy["type"] == "RollingUpdate";
        if let Some(rolling) = rolls.then(|| child(strategy, "rollingUpdate")).flatten() {
            fill(rolling, "maxUnavailable", 1);
            fill(rolling, "maxSurge", 0);
        }
    }
    template(spec);
}

pub(super) fn template(spec: &mut Value) {
    let Some(template) = child(spec, "template") else { return };
    if let Some(spec) = child(template, "spec") {
        pod::spec(spec);
    }
    if let Some(metadata) = child(template, "metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_rolls_by_quarters() {
        let mut object = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a:1"}]}}}});
        deployment(&mut object);
        let spec = &object["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["revisionHistoryLimit"], 10);
        assert_eq!(spec["progressDeadlineSeconds"], 600);
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}});
        assert_eq!(spec["strategy"], rolling);
        assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
        assert_eq!(spec["template"]["spec"].get("enableServiceLinks"), None);
    }

    #[test]
    fn a_daemon_set_updates_one_node_at_a_time() {
        let mut object = json!({"spec": {}});
        daemon_set(&mut object);
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}});
        assert_eq!(object["spec"]["updateStrategy"], rolling);
        assert_eq!(object["spec"]["revisionHistoryLimit"], 10);
    }

    #[test]
    fn zero_replicas_and_recreate_stay() {
        let mut object = json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}});
        deployment(&mut object);
        assert_eq!(object["spec"]["replicas"], 0);
        assert_eq!(object["spec"]["strategy"], json!({"type": "Recreate"}));
    }
}
