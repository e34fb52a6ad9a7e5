//! Which pods go first when there are too many, in Kubernetes' order.

use std::cmp::Ordering;
use std::collections::HashMap;

use jiff::Timestamp;

use super::Owned;
use crate::pod;

/// Lower goes first, as in the annotation's documentation.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The first is deleted first.
pub(super) fn in_order_of_deletion(mut pods: Vec<Owned>, now: Timestamp) -> Vec<Owned> {
    let mut on_node: HashMap<String, usize> = HashMap::new();
    for owned in &pods {
        if let Some(node) = pod::node_name(&owned.pod) {
            *on_node.entry(node.to_owned()).or_default() += 1;
        }
    }
    let neighbours = |owned: &Owned| pod::node_name(&owned.pod).and_then(|node| on_node.get(node)).copied();
    pods.sort_by(|a, b| compare(a, b, now).then_with(|| younger(a, b, now, neighbours(b).cmp(&neighbours(a)))));
    pods
}

/// Unscheduled, then pending, then not ready, then cheap ones go first.
fn compare(a: &Owned, b: &Owned, _now: Timestamp) -> Ordering {
    let scheduled = |owned: &Owned| pod::node_name(&owned.pod).is_some();
    let phase = |owned: &Owned| match pod::phase(&owned.pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    scheduled(a)
        .cmp(&scheduled(b))
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| pod::is_ready(&a.pod).cmp(&pod::is_ready(&b.pod)))
        .then_with(|| cost(a).cmp(&cost(b)))
}

/// Doubled up on a node, then ready for a shorter time, then restarted more often, then newer ones go first. Ages are
/// compared by powers of two, so that which pod goes does not depend on a second's difference in age.
fn younger(a: &Owned, b: &Owned, now: Timestamp, neighbours: Ordering) -> Ordering {
    let bucket = |time: Option<Timestamp>| {
        let seconds = time.map_or(0, |time| (now.as_second() - time.as_second()).max(0));
        u64::try_from(seconds).unwrap_or(0).checked_ilog2().map_or(-1, i64::from)
    };
    let created = |owned: &Owned| owned.pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    neighbours
        .then_with(|| bucket(pod::ready_since(&a.pod)).cmp(&bucket(pod::ready_since(&b.pod))))
        .then_with(|| pod::restarts(&b.pod).cmp(&pod::restarts(&a.pod)))
        .then_with(|| bucket(created(a)).cmp(&bucket(created(b))))
        .then_with(|| a.object.meta.uid.cmp(&b.object.meta.uid))
}

fn cost(owned: &Owned) -> i32 {
    let annotations = owned.pod.metadata.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(DELETION_COST)).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}
