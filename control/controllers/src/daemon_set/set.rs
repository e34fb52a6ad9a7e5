//! A DaemonSet with its nodes and pods, and the actions decided on so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control_api::resource::{NODES, PODS};
use control_api::view::IntOrString;
use control_api::view::apps::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use control_api::view::core::{Node, Pod, Toleration};
use control_client::{About, DeleteOptions, Object, Preconditions};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::history::{HASH_LABEL, Revision};
use super::node::{self, Fit, Place};
use crate::action::{Action, Announce};
use crate::error::Error;
use crate::pod::{self, Availability};
use crate::replica_set::{claim_objects, new_pod, selector};
use crate::world::{World, view};

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
const GENERATION_LABEL: &str = "pod-template-generation";

/// A pod with what is needed to act on it.
#[derive(Debug, Clone)]
pub(super) struct Owned {
    pub object: Arc<Object>,
    pub pod: Pod,
}

impl Owned {
    pub fn is_ending(&self) -> bool {
        self.object.meta.deletion_timestamp.is_some()
    }

    pub fn has_hash(&self, hash: &str) -> bool {
        self.object.meta.labels.get(HASH_LABEL).is_some_and(|found| found == hash)
    }

    pub fn created(&self) -> i64 {
        self.pod.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
    }
}

pub(super) struct Set {
    pub world: World,
    pub object: Arc<Object>,
    pub raw: Value,
    pub spec: DaemonSetSpec,
    pub status: DaemonSetStatus,
    pub places: Vec<Place>,
    /// By the node they are on or tied to.
    pub pods: BTreeMap<String, Vec<Owned>>,
    /// All known templates, once [`super::history::settle`] has looked.
    pub revisions: Vec<Revision>,
    /// Of the present template.
    pub hash: String,
    pub collisions: i32,
    tolerations: Vec<Toleration>,
    pub actions: Vec<Action>,
}

impl Set {
    pub fn load(world: &World, object: Arc<Object>) -> Result<Self, Error> {
        let set: DaemonSet = view(&object)?;
        let raw: Value = view(&object)?;
        let selector = selector(&object, &raw)?;
        let spec = set.spec.unwrap_or_default();
        let status = set.status.unwrap_or_default();
        let template = spec.template.spec.clone().unwrap_or_default();
        let tolerations = node::tolerations(&template);
        let mut places = Vec::new();
        for found in world.list(&NODES, None) {
            let node: Node = view(&found)?;
            places.push(node::place(&found, &node, &template, &tolerations));
        }
        let mut actions = Vec::new();
        let mut pods: BTreeMap<String, Vec<Owned>> = BTreeMap::new();
        for claimed in claim_objects(world, &PODS, &object, &selector, &mut actions) {
            let pod: Pod = view(&claimed)?;
            if let Some(node) = pod.spec.as_ref().and_then(node::target) {
                pods.entry(node).or_default().push(Owned { object: claimed, pod });
            }
        }
        for on_node in pods.values_mut() {
            // Placed ones first, then the oldest, as Kubernetes prefers them.
            on_node.sort_by_key(|owned| (pod::node_name(&owned.pod).is_none(), owned.created()));
        }
        Ok(Self {
            world: world.clone(),
            collisions: status.collision_count.unwrap_or(0),
            object,
            raw,
            spec,
            status,
            places,
            pods,
            revisions: Vec::new(),
            hash: String::new(),
            tolerations,
            actions,
        })
    }

    pub fn into_actions(self) -> Vec<Action> {
        self.actions
    }

    pub fn now(&self) -> Timestamp {
        self.world.now()
    }

    pub fn rolls(&self) -> bool {
        let strategy = self.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        strategy.unwrap_or("RollingUpdate") == "RollingUpdate"
    }

    /// Nodes that may have two pods while an update rolls, and nodes that may have none.
    pub fn surge_and_unavailable_max(&self) -> (usize, usize) {
        let total = self.places.iter().filter(|place| place.fit == Fit::Runs).count();
        let rolling = self.spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let of = |value: Option<&IntOrString>, default| value.map_or(default, |value| resolve(value, total));
        let surge = of(rolling.and_then(|rolling| rolling.max_surge.as_ref()), 0);
        let unavailable = of(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), 1);
        // Both zero could never move.
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    pub fn surges(&self) -> bool {
        self.rolls() && self.surge_and_unavailable_max().0 > 0
    }

    pub fn is_available(&self, owned: &Owned) -> bool {
        let seconds = self.spec.min_ready_seconds.unwrap_or(0);
        pod::availability(&owned.pod, seconds, &self.world) == Availability::Now
    }

    pub fn announce(&self, done: &'static str, failed: &'static str) -> Option<Announce> {
        Some(Announce { about: About::from(&*self.object), done, failed, noun: "pod" })
    }

    pub fn create_on(&mut self, node: &str) {
        let mut template = self.raw["spec"]["template"].clone();
        template["metadata"]["labels"][HASH_LABEL] = json!(self.hash);
        let generation = &self.raw["metadata"]["annotations"][TEMPLATE_GENERATION];
        if generation.is_string() {
            template["metadata"]["labels"][GENERATION_LABEL] = generation.clone();
        }
        let mut object = new_pod(&self.object, &template);
        node::tie(&mut object["spec"], node, &self.tolerations);
        self.actions.push(Action::Create {
            resource: &PODS,
            namespace: self.object.key.namespace.to_string(),
            object,
            announce: self.announce("SuccessfulCreate", "FailedCreate"),
        });
    }

    pub fn delete(&mut self, owned: &Owned) {
        let preconditions = Preconditions { uid: Some(owned.object.meta.uid.clone()), ..Preconditions::default() };
        self.actions.push(Action::Delete {
            key: owned.object.key.clone(),
            options: DeleteOptions { preconditions, ..DeleteOptions::default() },
            announce: self.announce("SuccessfulDelete", "FailedDelete"),
        });
    }

    pub fn look_again(&mut self, seconds: i64) {
        self.actions.push(Action::RequeueAfter(Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1))));
    }
}

/// A number, or a percentage of `total`, rounded up.
fn resolve(value: &IntOrString, total: usize) -> usize {
    match value {
        IntOrString::Int(number) => usize::try_from(*number).unwrap_or(0),
        IntOrString::String(text) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
            (percent * total).div_ceil(100)
        }
    }
}
