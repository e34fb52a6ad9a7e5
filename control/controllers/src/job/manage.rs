//! Pods made and deleted.

use std::collections::BTreeSet;

use control_api::resource::PODS;
use control_client::{About, DeleteOptions, Preconditions};

use super::run::{Owned, Run};
use super::{pause, pods, verdict};
use crate::action::{Action, Announce};
use crate::pod;

/// Pods made by one reconcile, as in Kubernetes.
const BURST_MAX: usize = 500;

pub(super) fn manage(run: &mut Run) {
    if run.verdict.is_some() {
        // They keep their finalizer: what a Job ended for its end's sake counts as failed.
        let all: Vec<Owned> = run.active().cloned().collect();
        all.iter().for_each(|owned| end(run, owned));
        verdict::conclude(run);
        return;
    }
    if run.is_deleting() {
        return;
    }
    if run.suspended() {
        let all: Vec<Owned> = run.active().cloned().collect();
        all.iter().for_each(|owned| dismiss(run, owned));
        return;
    }
    let surplus = surplus(run);
    surplus.iter().for_each(|owned| dismiss(run, owned));
    let active = run.active().count();
    let unfinished = if run.replaces_only_failed() { run.terminating() } else { 0 };
    let missing = wanted(run).saturating_sub(active + unfinished).min(BURST_MAX);
    if missing == 0 {
        return;
    }
    let seconds = pause::left(run);
    if seconds > 0 {
        run.look_again(seconds);
        return;
    }
    create(run, missing);
}

/// How many pods are to run at this moment.
fn wanted(run: &Run) -> usize {
    match run.completions() {
        // When one has ended the queue, no pod is started that would find it empty.
        None if run.succeeded() > 0 => run.active().count().min(run.parallelism()),
        None => run.parallelism(),
        Some(completions) => completions.saturating_sub(run.succeeded()).min(run.parallelism()),
    }
}

/// Pods of an index that is done, unknown or taken twice, then the youngest and least advanced ones beyond what is wanted.
fn surplus(run: &Run) -> Vec<Owned> {
    let mut surplus: Vec<Owned> = Vec::new();
    let mut rest: Vec<&Owned> = Vec::new();
    let mut active: Vec<&Owned> = run.active().collect();
    active.sort_by_key(|owned| rank(owned));
    let mut taken = BTreeSet::new();
    for owned in active {
        let fits = !run.is_indexed() || owned.index.is_some_and(|index| is_open(run, index) && taken.insert(index));
        if fits { rest.push(owned) } else { surplus.push(owned.clone()) }
    }
    surplus.extend(rest.into_iter().skip(wanted(run)).cloned());
    surplus
}

/// The lowest stay.
fn rank(owned: &Owned) -> (bool, bool, bool, i64) {
    let created = owned.pod.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let running = pod::phase(&owned.pod) == "Running";
    (pod::node_name(&owned.pod).is_none(), !running, !pod::is_ready(&owned.pod), created)
}

fn is_open(run: &Run, index: u32) -> bool {
    usize::try_from(index).is_ok_and(|index| index < run.completions().unwrap_or(0))
        && !run.completed_indexes.contains(&index)
}

fn create(run: &mut Run, missing: usize) {
    let indexes: Vec<Option<u32>> = if run.is_indexed() {
        let only_failed = run.replaces_only_failed();
        let busy = run.pods.iter().filter(|owned| owned.is_active() || (only_failed && !pod::is_finished(&owned.pod)));
        let busy: BTreeSet<u32> = busy.filter_map(|owned| owned.index).collect();
        let count = u32::try_from(run.completions().unwrap_or(0)).unwrap_or(0);
        let open = (0..count).filter(|index| !busy.contains(index) && !run.completed_indexes.contains(index));
        open.take(missing).map(Some).collect()
    } else {
        vec![None; missing]
    };
    for index in indexes {
        let announce = announce(run, "SuccessfulCreate", "FailedCreate");
        run.created += 1;
        run.actions.push(Action::Create {
            resource: &PODS,
            namespace: run.object.key.namespace.to_string(),
            object: pods::make(&run.object, &run.raw, index),
            announce,
        });
    }
}

fn announce(run: &Run, done: &'static str, failed: &'static str) -> Option<Announce> {
    Some(Announce { about: About::from(&*run.object), done, failed, noun: "pod" })
}

/// Deletes a pod that is not to be counted.
fn dismiss(run: &mut Run, owned: &Owned) {
    if owned.tracked {
        run.actions.push(pods::without_finalizer(&owned.object));
    }
    end(run, owned);
}

fn end(run: &mut Run, owned: &Owned) {
    run.dismissed.insert(owned.uid().to_owned());
    let preconditions = Preconditions { uid: Some(owned.uid().to_owned()), ..Preconditions::default() };
    let announce = announce(run, "SuccessfulDelete", "FailedDelete");
    run.actions.push(Action::Delete {
        key: owned.object.key.clone(),
        options: DeleteOptions { preconditions, ..DeleteOptions::default() },
        announce,
    });
}
