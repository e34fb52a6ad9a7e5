//! A Deployment with its ReplicaSets, and the actions decided on so far.

use std::sync::Arc;

use control_api::resource::REPLICA_SETS;
use control_api::view::IntOrString;
use control_api::view::apps::{Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus};
use control_client::{About, EventType, Object};
use serde_json::{Value, json};

use super::set::{DESIRED_REPLICAS, MAX_REPLICAS, Set, plain_template};
use crate::action::Action;
use crate::error::Error;
use crate::replica_set::{claim_objects, selector};
use crate::world::{World, view};

pub(super) struct Rollout {
    pub object: Arc<Object>,
    pub raw: Value,
    pub deployment: Deployment,
    pub spec: DeploymentSpec,
    pub status: DeploymentStatus,
    /// The set of the present template, once it is there.
    pub new: Option<Set>,
    /// All others, oldest first.
    pub old: Vec<Set>,
    /// Conditions as they are to be written.
    pub conditions: Vec<DeploymentCondition>,
    pub collisions: i32,
    pub template: Value,
    pub world: World,
    pub actions: Vec<Action>,
}

impl Rollout {
    pub fn load(world: &World, object: Arc<Object>) -> Result<Self, Error> {
        let deployment: Deployment = view(&object)?;
        let raw: Value = view(&object)?;
        let selector = selector(&object, &raw)?;
        let mut actions = Vec::new();
        let claimed = claim_objects(world, &REPLICA_SETS, &object, &selector, &mut actions);
        let mut old = claimed.into_iter().map(Set::load).collect::<Result<Vec<_>, _>>()?;
        old.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.name().cmp(b.name())));
        let template = plain_template(&raw["spec"]["template"]);
        // Of several sets of one template, the oldest is the present one, as in Kubernetes.
        let new = old.iter().position(|set| set.template == template).map(|at| old.remove(at));
        let status = deployment.status.clone().unwrap_or_default();
        Ok(Self {
            spec: deployment.spec.clone().unwrap_or_default(),
            conditions: status.conditions.clone().unwrap_or_default(),
            collisions: status.collision_count.unwrap_or(0),
            object,
            raw,
            deployment,
            status,
            new,
            old,
            template,
            world: world.clone(),
            actions,
        })
    }

    pub fn into_actions(self) -> Vec<Action> {
        self.actions
    }

    pub fn name(&self) -> &str {
        &self.object.key.name
    }

    pub fn is_ending(&self) -> bool {
        self.object.meta.deletion_timestamp.is_some()
    }

    pub fn paused(&self) -> bool {
        self.spec.paused.unwrap_or(false)
    }

    pub fn recreates(&self) -> bool {
        self.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
    }

    pub fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    pub fn sets(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(self.new.iter())
    }

    pub fn total(&self) -> i32 {
        self.sets().map(|set| set.replicas).sum()
    }

    /// Pods above `replicas` that a rolling update may have, and pods below it.
    fn fenceposts(&self) -> (i32, i32) {
        if self.recreates() {
            return (0, 0);
        }
        let rolling = self.spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let replicas = self.replicas();
        let default = IntOrString::String("25%".to_owned());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).unwrap_or(&default);
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&default);
        let (surge, unavailable) = (resolve(surge, replicas, true), resolve(unavailable, replicas, false));
        // Both zero could never move; small percentages round down to it.
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    pub fn surge_max(&self) -> i32 {
        self.fenceposts().0
    }

    pub fn unavailable_max(&self) -> i32 {
        self.fenceposts().1.min(self.replicas())
    }

    /// `replicas` changed since the sets were last scaled.
    pub fn is_scaling(&self) -> bool {
        self.sets()
            .filter(|set| set.replicas > 0)
            .any(|set| set.number(DESIRED_REPLICAS).is_some_and(|desired| desired != self.replicas()))
    }

    /// Asks for a set to have so many replicas; also renews the annotations that proportional scaling reads.
    pub fn scale_set(&mut self, which: Which, replicas: i32) -> bool {
        let desired = self.replicas().to_string();
        let max = (self.replicas() + self.surge_max()).to_string();
        let set = match which {
            Which::New => self.new.as_mut().expect("the new set is scaled only once it is there"),
            Which::Old(at) => &mut self.old[at],
        };
        let resized = set.replicas != replicas;
        let current = |name| set.annotations.get(name).map(String::as_str);
        if !resized && current(DESIRED_REPLICAS) == Some(&desired) && current(MAX_REPLICAS) == Some(&max) {
            return false;
        }
        let annotations = json!({DESIRED_REPLICAS: desired, MAX_REPLICAS: max});
        let patch = json!({"metadata": {"annotations": annotations}, "spec": {"replicas": replicas}});
        self.actions.push(Action::merge(&set.object.key, patch));
        if resized {
            let way = if replicas > set.replicas { "up" } else { "down" };
            let message =
                format!("Scaled {way} replica set {} from {} to {replicas}", set.object.key.name, set.replicas);
            self.actions.push(Action::Event {
                about: About::from(&*self.object),
                kind: EventType::Normal,
                reason: "ScalingReplicaSet",
                message,
            });
        }
        set.annotations.insert(DESIRED_REPLICAS.to_owned(), desired);
        set.annotations.insert(MAX_REPLICAS.to_owned(), max);
        set.replicas = replicas;
        resized
    }
}

/// One of the sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    New,
    Old(usize),
}

/// A number, or a percentage of `total`, rounded up for surge and down for unavailable.
fn resolve(value: &IntOrString, total: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let product = percent * i64::from(total);
            let rounded = if up { (product + 99) / 100 } else { product / 100 };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_up_for_surge_and_down_for_unavailable() {
        let quarter = IntOrString::String("25%".to_owned());
        assert_eq!(resolve(&quarter, 3, true), 1);
        assert_eq!(resolve(&quarter, 3, false), 0);
        assert_eq!(resolve(&quarter, 10, true), 3);
        assert_eq!(resolve(&quarter, 10, false), 2);
        assert_eq!(resolve(&IntOrString::Int(2), 10, false), 2);
    }
}
