//! Deployments and ReplicaSets.

use serde_json::{Value, json};

use crate::object::{integer, list, text};
use crate::scale::selector_text;

use super::age::age;
use super::{AGE, Column, NAME, Printer, or};

const CONTAINERS: Column = Column::wide("Containers", "Names of each container in the template.");
const IMAGES: Column = Column::wide("Images", "Images referenced by each container in the template.");
const SELECTOR: Column = Column::wide("Selector", "Label selector of the pods.");

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

fn count(object: &Value, pointer: &str) -> i64 {
    integer(object, pointer).unwrap_or(0)
}

/// The wide cells: containers, images, selector.
fn template(object: &Value) -> [Value; 3] {
    let containers = list(object, "/spec/template/spec/containers");
    let column = |pointer: &str| {
        let words: Vec<&str> = containers.iter().map(|container| text(container, pointer)).collect();
        json!(words.join(","))
    };
    let selector = selector_text(object.pointer("/spec/selector").unwrap_or(&Value::Null));
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
}
