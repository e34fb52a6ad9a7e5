//! Counting ended pods: named in the status first, then without their finalizer, then counted.

use std::collections::HashMap;

use super::pods;
use super::run::{self, Run};

/// Pods named at one time, as in Kubernetes: it bounds the status's size.
const UNCOUNTED_MAX: usize = 500;

/// Counts named pods whose finalizer is gone, and names those that have ended since.
pub(super) fn count_named(run: &mut Run) {
    let tracked: HashMap<&str, bool> = run.pods.iter().map(|owned| (owned.uid(), owned.tracked)).collect();
    let waits = |uid: &String| tracked.get(uid.as_str()).copied().unwrap_or(false);
    let (before_ok, before_bad) = (run.uncounted_succeeded.len(), run.uncounted_failed.len());
    run.uncounted_succeeded.retain(waits);
    run.uncounted_failed.retain(waits);
    let succeeded = before_ok - run.uncounted_succeeded.len();
    let failed = before_bad - run.uncounted_failed.len();
    run.status.succeeded = add(run.status.succeeded, succeeded);
    run.status.failed = add(run.status.failed, failed);
}

fn add(value: Option<i32>, more: usize) -> Option<i32> {
    let sum = run::count(value) + more;
    (sum > 0).then(|| i32::try_from(sum).unwrap_or(i32::MAX))
}

pub(super) fn count(run: &mut Run) {
    count_named(run);
    let only_failed = run.replaces_only_failed();
    let indexed = run.is_indexed();
    let completions = run.completions().unwrap_or(0);
    for owned in run.pods.iter().filter(|owned| owned.tracked) {
        if run.uncounted_succeeded.len() + run.uncounted_failed.len() >= UNCOUNTED_MAX {
            break;
        }
        if owned.succeeded() {
            match owned.index {
                // The index says by itself what was counted.
                Some(index) if indexed => {
                    if usize::try_from(index).is_ok_and(|index| index < completions) {
                        run.completed_indexes.insert(index);
                    }
                }
                _ => drop(run.uncounted_succeeded.insert(owned.uid().to_owned())),
            }
        } else if owned.failed(only_failed) {
            run.uncounted_failed.insert(owned.uid().to_owned());
        }
    }
}

/// Takes the finalizer off every pod that the status, written just before, names.
pub(super) fn release(run: &mut Run) {
    let indexed = run.is_indexed();
    let named = |owned: &&super::run::Owned| {
        run.uncounted_succeeded.contains(owned.uid())
            || run.uncounted_failed.contains(owned.uid())
            || (indexed && owned.succeeded() && owned.index.is_some_and(|index| is_settled(run, index)))
    };
    let patches: Vec<_> = run
        .pods
        .iter()
        .filter(|owned| owned.tracked)
        .filter(named)
        .map(|owned| pods::without_finalizer(&owned.object))
        .collect();
    run.actions.extend(patches);
}

/// Counted, or beyond the Job's indexes.
fn is_settled(run: &Run, index: u32) -> bool {
    run.completed_indexes.contains(&index)
        || usize::try_from(index).is_ok_and(|index| index >= run.completions().unwrap_or(0))
}

/// After the Job's end nothing is counted any more.
pub(super) fn release_all(run: &mut Run) {
    let patches: Vec<_> =
        run.pods.iter().filter(|owned| owned.tracked).map(|owned| pods::without_finalizer(&owned.object)).collect();
    run.actions.extend(patches);
}
