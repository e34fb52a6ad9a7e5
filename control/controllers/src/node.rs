//! Node lifecycle: taints that follow a node's Ready condition and `spec.unschedulable`, and pods of a node that fell
//! silent marked as not ready. The Ready condition itself becomes Unknown elsewhere, where heartbeats arrive.

use control_api::resource::{NODES, PODS};
use control_api::view::Time;
use control_api::view::core::{Node, Pod, Taint};
use control_client::{About, EventType, Key, Object, Resource};
use serde_json::json;

use crate::action::Action;
use crate::controller::{self, Change, Controller, Input};
use crate::error::Error;
use crate::pod;
use crate::world::{World, view};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions that keep new pods away, and the taints that do it.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

static OUTPUTS: [&Resource; 2] = [&NODES, &PODS];

pub struct NodeController;

/// A node's Ready condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Yes,
    No,
    Unknown,
}

impl Controller for NodeController {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input { resource: &NODES, keys: changed_in_kind }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        let node: Node = view(&object)?;
        let mut actions = Vec::new();
        let ready = ready(&node);
        if let Some(taints) = taints(&node, ready, world) {
            let taints = serde_json::to_value(taints).expect("taints are plain strings and times");
            // The list has no merge key: a change from elsewhere in between must not be lost.
            let metadata = json!({"resourceVersion": object.revision.to_string()});
            actions.push(Action::merge(key, json!({"metadata": metadata, "spec": {"taints": taints}})));
        }
        if ready == Ready::Unknown {
            mark_pods(world, &object, &mut actions)?;
        }
        Ok(actions)
    }
}

/// Heartbeats that change nothing but times are not looked at.
fn changed_in_kind(world: &World, change: &Change<'_>) -> Vec<Key> {
    let summary = |object: &Object| {
        let node: Node = view(object).ok()?;
        let (ready, short) = (ready(&node), PRESSURES.map(|(condition, _)| holds(&node, condition)));
        let spec = node.spec.unwrap_or_default();
        Some((ready, short, spec.unschedulable, spec.taints))
    };
    let same = change.previous.is_some_and(|previous| summary(previous) == summary(change.object));
    if same || change.deleted { Vec::new() } else { controller::itself(world, change) }
}

fn ready(node: &Node) -> Ready {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    match conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.as_str()) {
        Some("True") => Ready::Yes,
        Some("Unknown") => Ready::Unknown,
        // A node that has not reported yet is not ready.
        _ => Ready::No,
    }
}

fn holds(node: &Node, condition: &str) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|one| one.type_ == condition && one.status == "True")
}

/// The taints as they should be, where they are not.
fn taints(node: &Node, ready: Ready, world: &World) -> Option<Vec<Taint>> {
    let spec = node.spec.as_ref();
    let before = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
    // What a silent node said last about what it lacks is no news any more.
    let short = |condition| ready != Ready::Unknown && holds(node, condition);
    let wanted = PRESSURES.map(|(condition, taint)| (taint, "NoSchedule", short(condition))).into_iter().chain([
        (NOT_READY, "NoSchedule", ready == Ready::No),
        (NOT_READY, "NoExecute", ready == Ready::No),
        (UNREACHABLE, "NoSchedule", ready == Ready::Unknown),
        (UNREACHABLE, "NoExecute", ready == Ready::Unknown),
        (UNSCHEDULABLE, "NoSchedule", unschedulable),
    ]);
    let mut after = before.clone();
    for (key, effect, wanted) in wanted {
        let there = after.iter().position(|taint| taint.key == key && taint.effect == effect);
        match (there, wanted) {
            (None, true) => after.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                time_added: Some(Time(world.now_in_seconds())),
                value: None,
            }),
            (Some(at), false) => drop(after.remove(at)),
            _ => {}
        }
    }
    (after != before).then_some(after)
}

/// Nobody knows how the pods of a silent node are; Services must not count on them.
fn mark_pods(world: &World, node: &Object, actions: &mut Vec<Action>) -> Result<(), Error> {
    for object in world.index().pods_on(&node.key.name) {
        let pod: Pod = view(&object)?;
        if !pod::is_ready(&pod) {
            continue;
        }
        let now = control_client::recorder::seconds(world.now());
        let ready = json!({"type": "Ready", "status": "False", "lastTransitionTime": now});
        actions.push(Action::PatchStatus { key: object.key.clone(), patch: json!({"conditions": [ready]}) });
        actions.push(Action::Event {
            about: About::from(&*object),
            kind: EventType::Warning,
            reason: "NodeNotReady",
            message: "Node is not ready".to_owned(),
        });
    }
    Ok(())
}
