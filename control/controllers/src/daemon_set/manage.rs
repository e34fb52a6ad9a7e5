//! Pods that are missing, too many, or over.

use std::collections::{BTreeMap, BTreeSet};

use control_client::{About, EventType};

use super::backoff::Backoff;
use super::node::Fit;
use super::set::{Owned, Set};
use crate::action::Action;
use crate::pod;

/// Pods made or deleted by one reconcile, as in Kubernetes.
const BURST_MAX: usize = 250;

/// Makes and deletes pods; whether nothing was to be done.
pub(super) fn manage(set: &mut Set, backoff: &Backoff) -> bool {
    let mut missing: Vec<String> = Vec::new();
    let mut surplus: Vec<Owned> = Vec::new();
    let pods: BTreeMap<String, Vec<Owned>> = set.pods.clone();
    let places = set.places.clone();
    for place in &places {
        match (place.fit, pods.get(&place.name)) {
            (Fit::Runs, None) => missing.push(place.name.clone()),
            (Fit::Runs | Fit::Keeps, Some(on_node)) => prune(set, backoff, &place.name, on_node, &mut surplus),
            (Fit::Never, Some(on_node)) => {
                surplus.extend(on_node.iter().filter(|owned| !owned.is_ending()).cloned());
            }
            (Fit::Keeps | Fit::Never, None) => {}
        }
    }
    // Pods that wait for a node which is gone; those that were on it go with it.
    let nodes: BTreeSet<&str> = places.iter().map(|place| place.name.as_str()).collect();
    for (_, on_node) in pods.iter().filter(|(node, _)| !nodes.contains(node.as_str())) {
        let waits = |owned: &&Owned| pod::node_name(&owned.pod).is_none() && !owned.is_ending();
        surplus.extend(on_node.iter().filter(waits).cloned());
    }
    let settled = missing.is_empty() && surplus.is_empty();
    missing.iter().take(BURST_MAX).for_each(|node| set.create_on(node));
    surplus.iter().take(BURST_MAX).for_each(|owned| set.delete(owned));
    settled
}

fn prune(set: &mut Set, backoff: &Backoff, node: &str, on_node: &[Owned], surplus: &mut Vec<Owned>) {
    let mut running: Vec<&Owned> = Vec::new();
    for owned in on_node.iter().filter(|owned| !owned.is_ending()) {
        match pod::phase(&owned.pod) {
            "Failed" => match backoff.ask(&set.object.meta.uid, node, set.now()) {
                Some(seconds) => set.look_again(seconds),
                None => {
                    tell_over(set, owned, node, true);
                    surplus.push(owned.clone());
                }
            },
            "Succeeded" => {
                tell_over(set, owned, node, false);
                surplus.push(owned.clone());
            }
            _ => running.push(owned),
        }
    }
    if running.len() <= 1 {
        return;
    }
    if !set.surges() {
        surplus.extend(running.into_iter().skip(1).cloned());
        return;
    }
    // Two pods may be there while the new one is not available and the old one is ready.
    let (mut new, mut old): (Option<&Owned>, Option<&Owned>) = (None, None);
    for owned in running {
        let slot = if owned.has_hash(&set.hash) { &mut new } else { &mut old };
        match slot {
            None => *slot = Some(owned),
            Some(_) => surplus.push(owned.clone()),
        }
    }
    if let (Some(new), Some(old)) = (new, old)
        && (!pod::is_ready(&old.pod) || set.is_available(new))
    {
        surplus.push(old.clone());
    }
}

fn tell_over(set: &mut Set, owned: &Owned, node: &str, failed: bool) {
    let key = &owned.object.key;
    let (kind, reason, what, will) = match failed {
        true => (EventType::Warning, "FailedDaemonPod", "failed", "kill"),
        false => (EventType::Normal, "SucceededDaemonPod", "succeeded", "delete"),
    };
    let message =
        format!("Found {what} daemon pod {}/{} on node {node}, will try to {will} it", key.namespace, key.name);
    set.actions.push(Action::Event { about: About::from(&*set.object), kind, reason, message });
}
