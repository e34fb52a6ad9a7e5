//! RollingUpdate: the new set grows within the surge, the old ones shrink within what may be unavailable.

use super::history;
use super::revision;
use super::rollout::{Rollout, Which};
use super::status;

/// One step.
pub(super) fn step(rollout: &mut Rollout) {
    if revision::adopt_or_create(rollout) {
        return;
    }
    if !grow_new(rollout) && !shrink_old(rollout) && status::is_complete(rollout) {
        history::clean(rollout);
    }
    status::sync(rollout);
}

/// Replicas the new set may have now.
pub(super) fn new_replicas(rollout: &Rollout) -> i32 {
    let current = rollout.new.as_ref().map_or(0, |set| set.replicas);
    let wanted = rollout.replicas();
    if rollout.recreates() || current >= wanted {
        return wanted;
    }
    let room = wanted + rollout.surge_max() - rollout.total();
    current + room.clamp(0, wanted - current)
}

pub(super) fn grow_new(rollout: &mut Rollout) -> bool {
    let replicas = new_replicas(rollout);
    rollout.scale_set(Which::New, replicas)
}

fn shrink_old(rollout: &mut Rollout) -> bool {
    if rollout.old.iter().all(|set| set.replicas == 0) {
        return false;
    }
    let available_min = rollout.replicas() - rollout.unavailable_max();
    let new_unavailable = rollout.new.as_ref().map_or(0, |set| set.replicas - set.available);
    // Pods of the new set that are not available yet may never be: they do not count.
    let room = rollout.total() - available_min - new_unavailable;
    if room <= 0 {
        return false;
    }
    let unhealthy = drop_unhealthy(rollout, room);
    let healthy = drop_healthy(rollout, available_min);
    unhealthy || healthy
}

/// Old pods that are not available go first, so that they do not hold the rollout up.
fn drop_unhealthy(rollout: &mut Rollout, room: i32) -> bool {
    let mut dropped = 0;
    for at in 0..rollout.old.len() {
        let set = &rollout.old[at];
        let unhealthy = (set.replicas - set.available).max(0);
        let count = unhealthy.min(room - dropped);
        if count > 0 {
            let replicas = set.replicas - count;
            rollout.scale_set(Which::Old(at), replicas);
            dropped += count;
        }
    }
    dropped > 0
}

fn drop_healthy(rollout: &mut Rollout, available_min: i32) -> bool {
    // A set that was scaled down a moment ago may still report the pods it is about to end: they do not count.
    let available: i32 = rollout.sets().map(|set| set.available.min(set.replicas)).sum();
    let mut spare = available - available_min;
    let mut dropped = false;
    for at in 0..rollout.old.len() {
        let replicas = rollout.old[at].replicas;
        let count = replicas.min(spare);
        if count > 0 {
            rollout.scale_set(Which::Old(at), replicas - count);
            spare -= count;
            dropped = true;
        }
    }
    dropped
}
