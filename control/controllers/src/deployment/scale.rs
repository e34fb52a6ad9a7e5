//! A change of `replicas` without a change of the template. In the middle of a rollout the sets share it in proportion
//! to their sizes, so that a bad new template does not get all the new pods.

use super::rollout::{Rollout, Which};
use super::set::{DESIRED_REPLICAS, MAX_REPLICAS, Set};

pub(super) fn scale(rollout: &mut Rollout) {
    let replicas = rollout.replicas();
    if let Some(which) = only_active(rollout) {
        rollout.scale_set(which, replicas);
        return;
    }
    if rollout.new.as_ref().is_some_and(|set| is_saturated(set, replicas)) {
        for at in 0..rollout.old.len() {
            if rollout.old[at].replicas > 0 {
                rollout.scale_set(Which::Old(at), 0);
            }
        }
        return;
    }
    if !rollout.recreates() {
        share(rollout);
    }
}

fn all(rollout: &Rollout) -> Vec<(Which, &Set)> {
    let old = rollout.old.iter().enumerate().map(|(at, set)| (Which::Old(at), set));
    old.chain(rollout.new.iter().map(|set| (Which::New, set))).collect()
}

/// The one set with replicas or, with none, the newest.
fn only_active(rollout: &Rollout) -> Option<Which> {
    let active: Vec<Which> =
        all(rollout).into_iter().filter(|(_, set)| set.replicas > 0).map(|(which, _)| which).collect();
    match active.as_slice() {
        [] => all(rollout).last().map(|(which, _)| *which),
        [one] => Some(*one),
        _ => None,
    }
}

fn is_saturated(set: &Set, replicas: i32) -> bool {
    set.replicas == replicas && set.number(DESIRED_REPLICAS) == Some(replicas) && set.available == replicas
}

fn share(rollout: &mut Rollout) {
    let replicas = rollout.replicas();
    let allowed = if replicas > 0 { replicas + rollout.surge_max() } else { 0 };
    let to_add = allowed - rollout.total();
    let mut active: Vec<(Which, i32, i64, i32)> = all(rollout)
        .into_iter()
        .filter(|(_, set)| set.replicas > 0)
        .map(|(which, set)| (which, set.replicas, set.created, fraction(rollout, set, allowed)))
        .collect();
    // The largest first; among equals the newer one gains first and the older one loses first.
    active.sort_by_key(|(_, size, created, _)| (-size, if to_add > 0 { -created } else { *created }));
    let mut added = 0;
    let mut sizes: Vec<(Which, i32)> = Vec::new();
    for (which, size, _, fraction) in active {
        let left = to_add - added;
        let share = match to_add.signum() {
            0 => 0,
            1 => fraction.min(left),
            _ => fraction.max(left),
        };
        added += share;
        sizes.push((which, size + share));
    }
    // What rounding left over goes to the first.
    if let Some(first) = sizes.first_mut() {
        first.1 = (first.1 + to_add - added).max(0);
    }
    for (which, size) in sizes {
        rollout.scale_set(which, size);
    }
}

/// By how much a set changes when the whole goes from its annotated maximum to `allowed`.
fn fraction(rollout: &Rollout, set: &Set, allowed: i32) -> i32 {
    if rollout.replicas() == 0 {
        return -set.replicas;
    }
    let before = set.number(MAX_REPLICAS).or(rollout.status.replicas).unwrap_or(0);
    if before <= 0 {
        return 0;
    }
    let size = (f64::from(set.replicas) * f64::from(allowed) / f64::from(before)).round();
    // Sizes are far below the range in which an f64 loses integers.
    #[allow(clippy::cast_possible_truncation)]
    let size = size as i32;
    size - set.replicas
}
