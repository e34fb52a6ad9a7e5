//! A ReplicaSet's counts.

use control_api::view::apps::{ReplicaSet, ReplicaSetStatus};
use control_client::Object;
use serde_json::{Value, json};

use super::{Owned, requeue};
use crate::action::Action;
use crate::pod::{self, Availability};
use crate::world::World;

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    replicas: usize,
    fully_labeled: usize,
    ready: usize,
    available: usize,
    observed_generation: i64,
}

/// Writes the status where it changed, and asks to look again when a ready pod becomes available by waiting.
pub(super) fn update(object: &Object, set: &ReplicaSet, active: &[Owned], world: &World, actions: &mut Vec<Action>) {
    let spec = set.spec.as_ref();
    let ready_seconds_min = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let template = spec.and_then(|spec| spec.template.as_ref()).and_then(|template| template.metadata.as_ref());
    let labels = template.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    let availability: Vec<Availability> =
        active.iter().map(|owned| pod::availability(&owned.pod, ready_seconds_min, world)).collect();
    let labeled = |owned: &&Owned| labels.iter().all(|(name, value)| owned.object.meta.labels.get(name) == Some(value));
    let counts = Counts {
        replicas: active.len(),
        fully_labeled: active.iter().filter(labeled).count(),
        ready: active.iter().filter(|owned| pod::is_ready(&owned.pod)).count(),
        available: availability.iter().filter(|state| **state == Availability::Now).count(),
        observed_generation: object.meta.generation,
    };
    if counts != Counts::of(set.status.as_ref()) || set.status.is_none() {
        actions.push(Action::UpdateStatus { key: object.key.clone(), status: counts.to_value() });
    }
    let soonest = availability.iter().filter_map(|state| match state {
        Availability::InSeconds(seconds) => Some(*seconds),
        _ => None,
    });
    if let Some(seconds) = soonest.min() {
        actions.push(requeue(seconds));
    }
}

impl Counts {
    fn of(status: Option<&ReplicaSetStatus>) -> Self {
        let count = |value: Option<i32>| value.and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
        Self {
            replicas: count(status.map(|status| status.replicas)),
            fully_labeled: count(status.and_then(|status| status.fully_labeled_replicas)),
            ready: count(status.and_then(|status| status.ready_replicas)),
            available: count(status.and_then(|status| status.available_replicas)),
            observed_generation: status.and_then(|status| status.observed_generation).unwrap_or(0),
        }
    }

    /// As a merge patch: counts of zero are left out of the object, except `replicas`.
    fn to_value(&self) -> Value {
        let count = |value: usize| if value == 0 { Value::Null } else { json!(value) };
        json!({
            "replicas": self.replicas, "fullyLabeledReplicas": count(self.fully_labeled),
            "readyReplicas": count(self.ready), "availableReplicas": count(self.available),
            "observedGeneration": self.observed_generation,
        })
    }
}
