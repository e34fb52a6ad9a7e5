//! Deployment: ReplicaSets of its present and past templates, and how many pods each may have.
//!
//! One reconcile takes one step of a rollout; the ReplicaSets' changes bring the key back for the next. In reading
//! order: [`set`] a ReplicaSet as seen from here, [`rollout`] the Deployment with all its sets and what is to be done,
//! [`revision`] which set is the present one, [`rolling`] and [`recreate`] the strategies, [`scale`] proportional
//! scaling, [`history`] old sets, [`status`] counts and conditions, [`hash`] names.

use control_api::resource::{DEPLOYMENTS, PODS, REPLICA_SETS};
use control_client::{Key, Resource};

use crate::action::Action;
use crate::controller::{self, Change, Controller, Input};
use crate::error::Error;
use crate::world::World;

mod condition;
mod hash;
mod history;
mod recreate;
mod revision;
mod rolling;
mod rollout;
mod scale;
mod set;
mod status;

pub(crate) use hash::template_hash;
use rollout::Rollout;

static OUTPUTS: [&Resource; 2] = [&REPLICA_SETS, &DEPLOYMENTS];

pub struct DeploymentController;

impl Controller for DeploymentController {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input { resource: &DEPLOYMENTS, keys: controller::itself },
            Input { resource: &REPLICA_SETS, keys: deployments_of },
            Input { resource: &PODS, keys: waiting_for },
        ]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        let mut rollout = Rollout::load(world, object)?;
        if rollout.is_ending() {
            status::sync(&mut rollout);
            return Ok(rollout.into_actions());
        }
        condition::note_pause(&mut rollout);
        if rollout.paused() || rollout.is_scaling() {
            revision::adopt(&mut rollout);
            scale::scale(&mut rollout);
            if rollout.paused() {
                history::clean(&mut rollout);
            }
            status::sync(&mut rollout);
        } else if rollout.recreates() {
            recreate::step(&mut rollout, world)?;
        } else {
            rolling::step(&mut rollout);
        }
        Ok(rollout.into_actions())
    }
}

/// The set's Deployment or, for a set without a controller, every one in its namespace.
fn deployments_of(world: &World, change: &Change<'_>) -> Vec<Key> {
    let keys = controller::controller_of(&DEPLOYMENTS, change);
    if !keys.is_empty() || change.deleted || change.object.meta.controller().is_some() {
        return keys;
    }
    world.list(&DEPLOYMENTS, Some(&change.object.key.namespace)).iter().map(|found| found.key.clone()).collect()
}

/// A `Recreate` waits for the last old pod to be gone or to have ended; only such changes of pods matter here.
fn waiting_for(world: &World, change: &Change<'_>) -> Vec<Key> {
    if !change.deleted && change.object.meta.deletion_timestamp.is_none() {
        return Vec::new();
    }
    let sets = controller::controller_of(&REPLICA_SETS, change);
    let owner = |set: &Key| {
        let set = world.get(set)?;
        let owner = set.meta.controller().filter(|owner| owner.kind == DEPLOYMENTS.kind)?;
        Some(Key::new(&DEPLOYMENTS, &set.key.namespace, &owner.name))
    };
    sets.iter().filter_map(owner).collect()
}
