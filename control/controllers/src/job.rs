//! Job: pods until enough of them have succeeded, or too many failed.
//!
//! No end of a pod is lost or counted twice: pods carry a finalizer that is taken off only after the Job's status names
//! the pod as ended (`uncountedTerminatedPods`), and a named pod is added to the counts once its finalizer is gone.
//!
//! In reading order: [`indexes`] sets of completion indexes, [`run`] the Job with its pods, [`track`] counting,
//! [`verdict`] whether it is over, [`manage`] pods made and deleted, [`pods`] what a pod looks like, [`pause`] how long
//! after a failure, [`status`] what is written.

use control_api::resource::{JOBS, PODS};
use control_client::{DeleteOptions, Key, Object, Preconditions, Propagation, Resource};
use serde_json::json;

use crate::action::Action;
use crate::controller::{self, Change, Controller, Input};
use crate::error::Error;
use crate::world::World;

mod indexes;
mod manage;
mod pause;
mod pods;
mod run;
mod status;
mod track;
mod verdict;

use run::Run;

/// Keeps an ended pod until it is counted.
pub(crate) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

static OUTPUTS: [&Resource; 2] = [&PODS, &JOBS];

pub struct JobController;

impl Controller for JobController {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input { resource: &JOBS, keys: job_and_its_strays }, Input { resource: &PODS, keys: job_of }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        if *key.resource == PODS {
            return Ok(set_free(world, &object));
        }
        let mut run = Run::load(world, object)?;
        if run.is_over() {
            track::release_all(&mut run);
            expire(&mut run);
            return Ok(run.actions);
        }
        track::count(&mut run);
        verdict::judge(&mut run);
        manage::manage(&mut run);
        status::write(&mut run);
        track::release(&mut run);
        Ok(run.actions)
    }
}

/// The Job itself; with its end, its pods' finalizers have nobody left to take them off.
fn job_and_its_strays(world: &World, change: &Change<'_>) -> Vec<Key> {
    if !change.deleted {
        return vec![change.object.key.clone()];
    }
    world.index().owned(&PODS, &change.object.meta.uid).iter().map(|pod| pod.key.clone()).collect()
}

fn job_of(world: &World, change: &Change<'_>) -> Vec<Key> {
    let mut keys = controller::controller_of(&JOBS, change);
    if !change.deleted && is_stray(world, change.object) {
        keys.push(change.object.key.clone());
    }
    keys
}

pub(crate) fn is_tracked(pod: &Object) -> bool {
    pod.meta.finalizers.iter().any(|name| name == FINALIZER)
}

/// A tracked pod whose Job is gone, or that no Job owns any more.
fn is_stray(world: &World, pod: &Object) -> bool {
    if !is_tracked(pod) {
        return false;
    }
    let Some(owner) = pod.meta.controller().filter(|owner| owner.kind == JOBS.kind) else { return true };
    world.get(&Key::new(&JOBS, &pod.key.namespace, &owner.name)).is_none_or(|job| job.meta.uid != owner.uid)
}

fn set_free(world: &World, pod: &Object) -> Vec<Action> {
    if is_stray(world, pod) { vec![pods::without_finalizer(pod)] } else { Vec::new() }
}

/// `ttlSecondsAfterFinished`.
fn expire(run: &mut Run) {
    if run.object.meta.deletion_timestamp.is_some() {
        return;
    }
    let (Some(ttl), Some(finished)) = (run.spec.ttl_seconds_after_finished, run.finished_at()) else { return };
    let left = i64::from(ttl) - run.world.age_seconds(finished);
    if left > 0 {
        run.look_again(left);
        return;
    }
    let preconditions = Preconditions { uid: Some(run.object.meta.uid.clone()), ..Preconditions::default() };
    let options =
        DeleteOptions { preconditions, propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
    run.actions.push(Action::Delete { key: run.object.key.clone(), options, announce: None });
}

/// The pod's patch that takes or gives finalizers only where nobody changed them meanwhile.
fn finalizers_patch(pod: &Object, finalizers: &[String]) -> serde_json::Value {
    json!({"metadata": {"uid": pod.meta.uid, "resourceVersion": pod.revision.to_string(), "finalizers": finalizers}})
}
