//! Deployments, ReplicaSets, DaemonSets and ControllerRevisions.

use serde_json::{Value, json};

use crate::object::{flag, integer, list, text};
use crate::scale::{pod_selector, selector_text};

use super::age::age;
use super::{AGE, Column, NAME, Printer, labels, or};

pub(super) const CONTAINERS: Column = Column::wide("Containers", "Names of each container in the template.");
pub(super) const IMAGES: Column = Column::wide("Images", "Images referenced by each container in the template.");
pub(super) const SELECTOR: Column = Column::wide("Selector", "Label selector of the pods.");

pub(super) static DEPLOYMENT: Printer = Printer {
    columns: &[
        NAME,
        Column::string("Ready", "Number of the pod with ready state"),
        Column::integer("Up-to-date", "Total number of non-terminated pods that have the desired template spec."),
        Column::integer("Available", "Total number of available pods."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object, now| {
        let ready = format!("{}/{}", count(object, "/status/readyReplicas"), count(object, "/spec/replicas"));
        let mut cells = vec![
            json!(text(object, "/metadata/name")),
            json!(ready),
            json!(count(object, "/status/updatedReplicas")),
            json!(count(object, "/status/availableReplicas")),
            age(object, now),
        ];
        cells.extend(template(object));
        cells
    },
};

pub(super) static REPLICA_SET: Printer = Printer {
    columns: &[
        NAME,
        Column::integer("Desired", "The number of desired pods."),
        Column::integer("Current", "The most recently observed number of pods."),
        Column::integer("Ready", "The number of pods with a Ready condition."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object, now| {
        let mut cells = vec![
            json!(text(object, "/metadata/name")),
            json!(count(object, "/spec/replicas")),
            json!(count(object, "/status/replicas")),
            json!(count(object, "/status/readyReplicas")),
            age(object, now),
        ];
        cells.extend(template(object));
        cells
    },
};

pub(super) static DAEMON_SET: Printer = Printer {
    columns: &[
        NAME,
        Column::integer("Desired", "The number of nodes that should run the daemon pod."),
        Column::integer("Current", "The number of nodes that run at least one daemon pod."),
        Column::integer("Ready", "The number of nodes whose daemon pod is ready."),
        Column::integer("Up-to-date", "The number of nodes that run the updated daemon pod."),
        Column::integer("Available", "The number of nodes whose daemon pod is available."),
        Column::string("Node Selector", "Labels of the nodes that the daemon pods run on."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object, now| {
        let mut cells = vec![json!(text(object, "/metadata/name"))];
        let counts = [
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
        ];
        cells.extend(counts.iter().map(|key| json!(count(object, &format!("/status/{key}")))));
        cells.push(or(&labels(object, "/spec/template/spec/nodeSelector"), "<none>"));
        cells.push(age(object, now));
        cells.extend(template(object));
        cells
    },
};

pub(super) static CONTROLLER_REVISION: Printer = Printer {
    columns: &[
        NAME,
        Column::string("Controller", "Controller of the object."),
        Column::integer("Revision", "The revision of the state."),
        AGE,
    ],
    cells: |object, now| {
        let owners = list(object, "/metadata/ownerReferences");
        let owner = owners.iter().find(|owner| flag(owner, "/controller")).map(|owner| {
            let group = text(owner, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{}{dot}{group}/{}", text(owner, "/kind").to_lowercase(), text(owner, "/name"))
        });
        vec![
            json!(text(object, "/metadata/name")),
            or(&owner.unwrap_or_default(), "<none>"),
            json!(count(object, "/revision")),
            age(object, now),
        ]
    },
};

fn count(object: &Value, pointer: &str) -> i64 {
    integer(object, pointer).unwrap_or(0)
}

/// The wide cells: containers, images, selector.
pub(super) fn template(object: &Value) -> [Value; 3] {
    let containers = list(object, "/spec/template/spec/containers");
    let column = |pointer: &str| {
        let words: Vec<&str> = containers.iter().map(|container| text(container, pointer)).collect();
        json!(words.join(","))
    };
    let selector = selector_text(&pod_selector(object));
    [column("/name"), column("/image"), or(&selector, "<none>")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_shows_ready_of_wanted() {
        let object = json!({
            "metadata": {"name": "web", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {
                "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                "template": {"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:1"}]}},
            },
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1, "replicas": 4},
        });
        let now = "1970-01-01T00:00:07Z".parse().expect("a time");
        let wanted = json!(["web", "2/3", 3, 1, "7s", "a,b", "x:1,y:1", "app=web"]);
        assert_eq!(json!((DEPLOYMENT.cells)(&object, now)), wanted);
        let wanted = json!(["web", 3, 4, 2, "7s", "a,b", "x:1,y:1", "app=web"]);
        assert_eq!(json!((REPLICA_SET.cells)(&object, now)), wanted);
    }

    #[test]
    fn a_daemon_set_shows_nodes_and_a_revision_its_owner() {
        let metadata = json!({
            "name": "a", "creationTimestamp": "1970-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": true}],
        });
        let now = "1970-01-01T00:00:07Z".parse().expect("a time");
        let object = json!({
            "metadata": metadata, "status": {"desiredNumberScheduled": 3, "numberReady": 2},
            "spec": {"template": {"spec": {"nodeSelector": {"x": "y"}, "containers": [{"name": "c", "image": "i"}]}}},
        });
        let wanted = json!(["a", 3, 0, 2, 0, 0, "x=y", "7s", "c", "i", "<none>"]);
        assert_eq!(json!((DAEMON_SET.cells)(&object, now)), wanted);
        let revision = json!({"metadata": metadata, "revision": 4});
        assert_eq!(json!((CONTROLLER_REVISION.cells)(&revision, now)), json!(["a", "daemonset.apps/d", 4, "7s"]));
    }
}
