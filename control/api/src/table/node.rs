//! Nodes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::object::{flag, list, map, text};

use super::age::age;
use super::{AGE, Column, NAME, Printer, or};

const ROLE_LABEL_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

pub(super) static PRINTER: Printer = Printer {
    columns: &[
        NAME,
        Column::string("Status", "The status of the node"),
        Column::string("Roles", "The roles of the node"),
        AGE,
        Column::string("Version", "Kubelet Version reported by the node."),
        Column::wide("Internal-IP", "List of addresses reachable to the node."),
        Column::wide("External-IP", "List of addresses reachable to the node."),
        Column::wide("OS-Image", "OS Image reported by the node from /etc/os-release."),
        Column::wide("Kernel-Version", "Kernel Version reported by the node from 'uname -r'."),
        Column::wide("Container-Runtime", "ContainerRuntime Version reported by the node."),
    ],
    cells: |object, now| {
        let info = |field: &str| text(object, &format!("/status/nodeInfo/{field}"));
        vec![
            json!(text(object, "/metadata/name")),
            json!(status(object)),
            or(&roles(object), "<none>"),
            age(object, now),
            json!(info("kubeletVersion")),
            or(address(object, "InternalIP"), "<none>"),
            or(address(object, "ExternalIP"), "<none>"),
            or(info("osImage"), "<unknown>"),
            or(info("kernelVersion"), "<unknown>"),
            or(info("containerRuntimeVersion"), "<unknown>"),
        ]
    },
};

fn status(object: &Value) -> String {
    let ready = list(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == "Ready");
    let word = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if flag(object, "/spec/unschedulable") { format!("{word},SchedulingDisabled") } else { word.to_owned() }
}

fn roles(object: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in map(object, "/metadata/labels").into_iter().flatten() {
        let role = match key.strip_prefix(ROLE_LABEL_PREFIX) {
            Some(role) => role,
            None if key == ROLE_LABEL => value.as_str().unwrap_or(""),
            None => "",
        };
        if !role.is_empty() {
            roles.insert(role);
        }
    }
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn address<'a>(object: &'a Value, kind: &str) -> &'a str {
    let found = list(object, "/status/addresses").iter().find(|address| text(address, "/type") == kind);
    found.map_or("", |address| text(address, "/address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_shows_readiness_roles_and_addresses() {
        let mut object = json!({
            "metadata": {
                "name": "n1", "creationTimestamp": "1970-01-01T00:00:00Z",
                "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""},
            },
            "status": {
                "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
                "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.35.0", "osImage": "Debian 12"},
            },
        });
        let now = "1970-01-01T00:00:07Z".parse().expect("a time");
        let wanted = json!([
            "n1",
            "Ready",
            "control-plane,worker",
            "7s",
            "v1.35.0",
            "10.0.0.1",
            "<none>",
            "Debian 12",
            "<unknown>",
            "<unknown>",
        ]);
        assert_eq!(json!((PRINTER.cells)(&object, now)), wanted);
        object["spec"] = json!({"unschedulable": true});
        object["status"]["conditions"][1]["status"] = json!("Unknown");
        assert_eq!(status(&object), "NotReady,SchedulingDisabled");
        assert_eq!(status(&json!({})), "Unknown");
    }
}
