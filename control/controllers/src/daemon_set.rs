//! DaemonSet: one pod on each node that its template fits, and how a new template comes to all of them.
//!
//! One reconcile takes one step; the pods' changes bring the key back for the next. In reading order: [`node`] whether
//! a node is to have the pod and how the pod is tied to it, [`history`] templates as ControllerRevisions, [`set`] the
//! DaemonSet with its nodes and pods, [`manage`] pods that are missing or too many, [`rolling`] pods of an old
//! template, [`status`] counts, [`backoff`] how often a pod that fails is made anew.

use control_api::resource::{CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS};
use control_api::view::core::Node;
use control_client::{Key, Object, Resource};

use crate::action::Action;
use crate::controller::{self, Change, Controller, Input};
use crate::error::Error;
use crate::replica_set::selector;
use crate::world::{World, view};

mod backoff;
mod history;
mod manage;
mod node;
mod rolling;
mod set;
mod status;

use backoff::Backoff;
use set::Set;

static OUTPUTS: [&Resource; 3] = [&PODS, &CONTROLLER_REVISIONS, &DAEMON_SETS];

#[derive(Default)]
pub struct DaemonSetController {
    backoff: Backoff,
}

impl Controller for DaemonSetController {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input { resource: &DAEMON_SETS, keys: controller::itself },
            Input { resource: &PODS, keys: sets_of },
            Input { resource: &CONTROLLER_REVISIONS, keys: sets_of },
            Input { resource: &NODES, keys: all_sets },
        ]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        if object.meta.deletion_timestamp.is_some() {
            return Ok(Vec::new());
        }
        let mut set = Set::load(world, object)?;
        if !history::settle(&mut set)? {
            status::write(&mut set);
            return Ok(set.into_actions());
        }
        let settled = manage::manage(&mut set, &self.backoff);
        if settled && set.rolls() {
            rolling::step(&mut set);
        }
        history::clean(&mut set);
        status::write(&mut set);
        Ok(set.into_actions())
    }
}

/// The object's DaemonSet or, for one without a controller, every DaemonSet whose selector matches it.
fn sets_of(world: &World, change: &Change<'_>) -> Vec<Key> {
    let mut keys = controller::controller_of(&DAEMON_SETS, change);
    if change.object.meta.controller().is_none() && !change.deleted {
        for set in world.list(&DAEMON_SETS, Some(&change.object.key.namespace)) {
            let matches = view(&set).ok().and_then(|raw| selector(&set, &raw).ok());
            if matches.is_some_and(|selector| selector.matches(&change.object.meta.labels)) {
                keys.push(set.key.clone());
            }
        }
    }
    keys
}

/// Every DaemonSet, when a node comes, goes, or changes in what pods look at; its heartbeats do not matter.
fn all_sets(world: &World, change: &Change<'_>) -> Vec<Key> {
    let spec = |object: &Object| view::<Node>(object).ok().map(|node| node.spec.unwrap_or_default());
    let same = change.previous.is_some_and(|previous| {
        previous.meta.uid == change.object.meta.uid
            && previous.meta.labels == change.object.meta.labels
            && spec(previous) == spec(change.object)
    });
    if same && !change.deleted {
        return Vec::new();
    }
    world.list(&DAEMON_SETS, None).iter().map(|set| set.key.clone()).collect()
}
