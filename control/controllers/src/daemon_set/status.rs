//! A DaemonSet's counts.

use serde_json::json;

use super::node::Fit;
use super::set::Set;
use crate::action::Action;
use crate::pod::{self, Availability};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    desired: i32,
    current: i32,
    misscheduled: i32,
    ready: i32,
    updated: i32,
    available: i32,
    unavailable: i32,
    observed_generation: i64,
    collisions: i32,
}

/// Writes the status where it changed, and asks to look again when a ready pod becomes available by waiting.
pub(super) fn write(set: &mut Set) {
    let (counts, soonest) = count(set);
    if counts != before(set) || set.raw["status"].is_null() {
        let some = |value: i32| if value == 0 { serde_json::Value::Null } else { json!(value) };
        let status = json!({
            "currentNumberScheduled": counts.current, "numberMisscheduled": counts.misscheduled,
            "desiredNumberScheduled": counts.desired, "numberReady": counts.ready,
            "updatedNumberScheduled": some(counts.updated), "numberAvailable": some(counts.available),
            "numberUnavailable": some(counts.unavailable), "collisionCount": some(counts.collisions),
            "observedGeneration": counts.observed_generation,
        });
        set.actions.push(Action::UpdateStatus { key: set.object.key.clone(), status });
    }
    if let Some(seconds) = soonest {
        set.look_again(seconds);
    }
}

fn count(set: &Set) -> (Counts, Option<i64>) {
    let mut counts =
        Counts { observed_generation: set.object.meta.generation, collisions: set.collisions, ..Counts::default() };
    let mut soonest: Option<i64> = None;
    let seconds = set.spec.min_ready_seconds.unwrap_or(0);
    for place in &set.places {
        let first = set.pods.get(&place.name).and_then(|pods| pods.first());
        if place.fit != Fit::Runs {
            counts.misscheduled += i32::from(first.is_some());
            continue;
        }
        counts.desired += 1;
        let Some(owned) = first else { continue };
        counts.current += 1;
        counts.ready += i32::from(pod::is_ready(&owned.pod));
        counts.updated += i32::from(owned.has_hash(&set.hash));
        match pod::availability(&owned.pod, seconds, &set.world) {
            Availability::Now => counts.available += 1,
            Availability::InSeconds(left) => soonest = Some(soonest.map_or(left, |known| known.min(left))),
            Availability::No => {}
        }
    }
    counts.unavailable = counts.desired - counts.available;
    (counts, soonest)
}

fn before(set: &Set) -> Counts {
    let status = &set.status;
    Counts {
        desired: status.desired_number_scheduled,
        current: status.current_number_scheduled,
        misscheduled: status.number_misscheduled,
        ready: status.number_ready,
        updated: status.updated_number_scheduled.unwrap_or(0),
        available: status.number_available.unwrap_or(0),
        unavailable: status.number_unavailable.unwrap_or(0),
        observed_generation: status.observed_generation.unwrap_or(0),
        collisions: status.collision_count.unwrap_or(0),
    }
}
