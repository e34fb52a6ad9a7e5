//! Pods that may not stay: those that do not tolerate a NoExecute taint of their node (at once, or after their
//! toleration's seconds), and those whose node is gone.

use std::time::Duration;

use control_api::resource::{NODES, PODS};
use control_api::view::core::{Node, Pod};
use control_client::placement::tolerates;
use control_client::{About, DeleteOptions, EventType, Key, Object, Preconditions, Resource};
use jiff::Timestamp;

use crate::action::Action;
use crate::controller::{self, Change, Controller, Input};
use crate::error::Error;
use crate::pod;
use crate::world::{World, view};

static OUTPUTS: [&Resource; 1] = [&PODS];

pub struct EvictionController;

/// How long a pod may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    Forever,
    Until(Timestamp),
    Not,
}

impl Controller for EvictionController {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input { resource: &NODES, keys: pods_of_node }, Input { resource: &PODS, keys: bound }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        let pod: Pod = view(&object)?;
        let Some(node_name) = pod::node_name(&pod) else { return Ok(Vec::new()) };
        let Some(node) = world.get(&Key::new(&NODES, "", node_name)) else {
            // Nobody is left who could end the pod and say so.
            return Ok(vec![delete(&object, Some(0))]);
        };
        if object.meta.deletion_timestamp.is_some() || pod::is_finished(&pod) {
            return Ok(Vec::new());
        }
        let node: Node = view(&node)?;
        match stay(world, &pod, &node) {
            Stay::Forever => Ok(Vec::new()),
            Stay::Until(end) if end > world.now() => {
                let left = end.as_second() - world.now().as_second();
                Ok(vec![Action::RequeueAfter(Duration::from_secs(u64::try_from(left).unwrap_or(0) + 1))])
            }
            Stay::Until(_) | Stay::Not => Ok(vec![announce(&object), delete(&object, None)]),
        }
    }
}

/// A node that is gone, or whose taints changed, concerns its pods.
fn pods_of_node(world: &World, change: &Change<'_>) -> Vec<Key> {
    let taints = |object: &Object| view::<Node>(object).ok().and_then(|node| node.spec).and_then(|spec| spec.taints);
    let same = change.previous.is_some_and(|previous| taints(previous) == taints(change.object));
    if same && !change.deleted {
        return Vec::new();
    }
    world.index().pods_on(&change.object.key.name).iter().map(|pod| pod.key.clone()).collect()
}

/// A pod when it is bound or its tolerations may have changed, not at each report of its status.
fn bound(world: &World, change: &Change<'_>) -> Vec<Key> {
    let same = change.previous.is_some_and(|previous| {
        let spec = |object: &Object| {
            view::<Pod>(object).ok().and_then(|pod| pod.spec).map(|spec| (spec.node_name, spec.tolerations))
        };
        previous.meta.generation == change.object.meta.generation && spec(previous) == spec(change.object)
    });
    if same || change.deleted { Vec::new() } else { controller::itself(world, change) }
}

fn stay(world: &World, pod: &Pod, node: &Node) -> Stay {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let mut end: Option<Timestamp> = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let mut matching = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).peekable();
        if matching.peek().is_none() {
            return Stay::Not;
        }
        let Some(seconds) = matching.filter_map(|toleration| toleration.toleration_seconds).min() else { continue };
        let Some(since) = taint.time_added.as_ref() else { return Stay::Not };
        let until = Timestamp::from_second(world.corrected(since.0).as_second().saturating_add(seconds.max(0)))
            .unwrap_or(Timestamp::MAX);
        end = Some(end.map_or(until, |end| end.min(until)));
    }
    end.map_or(Stay::Forever, Stay::Until)
}

fn announce(object: &Object) -> Action {
    Action::Event {
        about: About::from(object),
        kind: EventType::Normal,
        reason: "TaintManagerEviction",
        message: format!("Marking for deletion Pod {}/{}", object.key.namespace, object.key.name),
    }
}

fn delete(object: &Object, grace_period_seconds: Option<i64>) -> Action {
    let preconditions = Preconditions { uid: Some(object.meta.uid.clone()), ..Preconditions::default() };
    let options = DeleteOptions { grace_period_seconds, preconditions, ..DeleteOptions::default() };
    Action::Delete { key: object.key.clone(), options, announce: None }
}
