//! Recreate: all old pods are gone before the first new one is made.

use control_api::resource::PODS;
use control_api::view::core::Pod;

use super::history;
use super::revision;
use super::rolling::grow_new;
use super::rollout::{Rollout, Which};
use super::status;
use crate::error::Error;
use crate::pod;
use crate::world::{World, view};

/// One step.
pub(super) fn step(rollout: &mut Rollout, world: &World) -> Result<(), Error> {
    let mut shrunk = false;
    for at in 0..rollout.old.len() {
        if rollout.old[at].replicas > 0 {
            shrunk |= rollout.scale_set(Which::Old(at), 0);
        }
    }
    if shrunk || old_pods_run(rollout, world)? {
        status::sync(rollout);
        return Ok(());
    }
    if revision::adopt_or_create(rollout) {
        return Ok(());
    }
    if !grow_new(rollout) && status::is_complete(rollout) {
        history::clean(rollout);
    }
    status::sync(rollout);
    Ok(())
}

fn old_pods_run(rollout: &Rollout, world: &World) -> Result<bool, Error> {
    for set in &rollout.old {
        for object in world.index().owned(&PODS, &set.object.meta.uid) {
            let pod: Pod = view(&object)?;
            if !pod::is_finished(&pod) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
