//! Pods of an old template give way to new ones, a few nodes at a time.

use super::set::{Owned, Set};

/// A node's living pods: of the present template, and of an old one.
enum Pair<'a> {
    /// More than one of a sort, which is `manage`'s to clear up.
    Unclear,
    Pods {
        new: Option<&'a Owned>,
        old: Option<&'a Owned>,
    },
}

/// One step of the update.
pub(super) fn step(set: &mut Set) {
    let (surge, unavailable) = set.surge_and_unavailable_max();
    if surge == 0 { replace(set, unavailable) } else { surge_over(set, surge) }
}

fn pair<'a>(pods: &'a [Owned], hash: &str) -> Pair<'a> {
    let (mut new, mut old) = (None, None);
    for owned in pods.iter().filter(|owned| !owned.is_ending()) {
        let slot = if owned.has_hash(hash) { &mut new } else { &mut old };
        if slot.replace(owned).is_some() {
            return Pair::Unclear;
        }
    }
    Pair::Pods { new, old }
}

/// Deletes old pods as far as nodes may be without one; `manage` makes the new ones.
fn replace(set: &mut Set, unavailable_max: usize) {
    let mut unavailable = 0;
    let (mut certain, mut candidates): (Vec<Owned>, Vec<Owned>) = (Vec::new(), Vec::new());
    for pods in set.pods.values() {
        match pair(pods, &set.hash) {
            Pair::Pods { new: Some(new), old: None } => unavailable += usize::from(!set.is_available(new)),
            Pair::Pods { new: None, old: Some(old) } => {
                if set.is_available(old) {
                    candidates.push(old.clone());
                } else {
                    // It serves nobody: replacing it makes nothing worse.
                    certain.push(old.clone());
                    unavailable += 1;
                }
            }
            _ => unavailable += 1,
        }
    }
    let allowed = unavailable_max.saturating_sub(unavailable);
    for owned in certain.into_iter().chain(candidates.into_iter().take(allowed)) {
        set.delete(&owned);
    }
}

/// Makes new pods beside old ones as far as nodes may have two; an old one goes once its successor is available.
fn surge_over(set: &mut Set, surge_max: usize) {
    let mut surging = 0;
    let (mut certain, mut candidates): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut over: Vec<Owned> = Vec::new();
    for (node, pods) in &set.pods {
        match pair(pods, &set.hash) {
            Pair::Pods { new: None, old: Some(old) } => {
                let list = if set.is_available(old) { &mut candidates } else { &mut certain };
                list.push(node.clone());
            }
            Pair::Pods { new: Some(new), old: Some(old) } => {
                if set.is_available(new) {
                    over.push(old.clone());
                } else {
                    surging += 1;
                }
            }
            Pair::Pods { old: None, .. } => {}
            Pair::Unclear => surging += 1,
        }
    }
    over.iter().for_each(|owned| set.delete(owned));
    let allowed = surge_max.saturating_sub(surging);
    for node in certain.into_iter().chain(candidates.into_iter().take(allowed)) {
        set.create_on(&node);
    }
}
