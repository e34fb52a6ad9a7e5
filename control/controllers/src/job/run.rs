//! A Job with its pods, and the actions decided on so far.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use control_api::resource::PODS;
use control_api::view::Time;
use control_api::view::batch::{Job, JobCondition, JobSpec, JobStatus};
use control_api::view::core::Pod;
use control_client::{About, EventType, Object};
use jiff::Timestamp;
use serde_json::Value;

use super::indexes::{self, Indexes};
use super::{is_tracked, pods};
use crate::action::Action;
use crate::error::Error;
use crate::pod;
use crate::replica_set::{claim_objects, selector};
use crate::world::{World, view};

/// A pod with what is needed to act on it.
#[derive(Debug, Clone)]
pub(super) struct Owned {
    pub object: Arc<Object>,
    pub pod: Pod,
    /// Its finalizer is there: it is not counted yet.
    pub tracked: bool,
    pub index: Option<u32>,
}

impl Owned {
    pub fn uid(&self) -> &str {
        &self.object.meta.uid
    }

    pub fn is_ending(&self) -> bool {
        self.object.meta.deletion_timestamp.is_some()
    }

    pub fn is_active(&self) -> bool {
        pod::is_active(&self.pod)
    }

    pub fn succeeded(&self) -> bool {
        pod::phase(&self.pod) == "Succeeded"
    }

    /// It failed or, unless only such pods are replaced, will never succeed since it is being deleted.
    pub fn failed(&self, only_failed: bool) -> bool {
        match pod::phase(&self.pod) {
            "Failed" => true,
            "Succeeded" => false,
            _ => self.is_ending() && !only_failed,
        }
    }
}

/// Why a Job is over or about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub complete: bool,
    pub reason: String,
    pub message: String,
}

pub(super) struct Run {
    pub world: World,
    pub object: Arc<Object>,
    pub raw: Value,
    pub spec: JobSpec,
    /// As it is stored.
    pub before: JobStatus,
    /// As it is to be written.
    pub status: JobStatus,
    pub pods: Vec<Owned>,
    /// Pods named in the status as ended, by how.
    pub uncounted_succeeded: BTreeSet<String>,
    pub uncounted_failed: BTreeSet<String>,
    pub completed_indexes: Indexes,
    pub verdict: Option<Verdict>,
    /// Pods that this reconcile ends: they count neither as active nor as failed.
    pub dismissed: BTreeSet<String>,
    pub created: usize,
    pub actions: Vec<Action>,
}

impl Run {
    pub fn load(world: &World, object: Arc<Object>) -> Result<Self, Error> {
        let job: Job = view(&object)?;
        let raw: Value = view(&object)?;
        let selector = selector(&object, &raw)?;
        let spec = job.spec.unwrap_or_default();
        let status = job.status.unwrap_or_default();
        let mut actions = Vec::new();
        let mut owned = Vec::new();
        for claimed in claim_objects(world, &PODS, &object, &selector, &mut actions) {
            let pod: Pod = view(&claimed)?;
            let tracked = is_tracked(&claimed);
            if !tracked && pod::is_active(&pod) {
                // One that was adopted: it counts from now on.
                actions.push(pods::with_finalizer(&claimed));
            }
            let index = pods::index(&claimed);
            owned.push(Owned { object: claimed, pod, tracked, index });
        }
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let count = spec.completions.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        let completed_indexes = indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), count);
        Ok(Self {
            world: world.clone(),
            object,
            raw,
            spec,
            before: status.clone(),
            status,
            pods: owned,
            uncounted_succeeded: uncounted.succeeded.unwrap_or_default().into_iter().collect(),
            uncounted_failed: uncounted.failed.unwrap_or_default().into_iter().collect(),
            completed_indexes,
            verdict: None,
            dismissed: BTreeSet::new(),
            created: 0,
            actions,
        })
    }

    pub fn now(&self) -> Time {
        Time(self.world.now_in_seconds())
    }

    pub fn condition(&self, kind: &str) -> Option<&JobCondition> {
        self.status.conditions.iter().flatten().find(|found| found.type_ == kind && found.status == "True")
    }

    pub fn is_over(&self) -> bool {
        self.condition("Complete").or_else(|| self.condition("Failed")).is_some()
    }

    pub fn finished_at(&self) -> Option<Timestamp> {
        let over = self.condition("Complete").or_else(|| self.condition("Failed"))?;
        over.last_transition_time.as_ref().map(|time| time.0)
    }

    pub fn is_deleting(&self) -> bool {
        self.object.meta.deletion_timestamp.is_some()
    }

    pub fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    pub fn suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    pub fn replaces_only_failed(&self) -> bool {
        self.spec.pod_replacement_policy.as_deref() == Some("Failed")
    }

    pub fn parallelism(&self) -> usize {
        usize::try_from(self.spec.parallelism.unwrap_or(1)).unwrap_or(0)
    }

    pub fn completions(&self) -> Option<usize> {
        self.spec.completions.and_then(|count| usize::try_from(count).ok())
    }

    /// Counted ones and those about to be.
    pub fn succeeded(&self) -> usize {
        if self.is_indexed() {
            return self.completed_indexes.len();
        }
        count(self.status.succeeded) + self.uncounted_succeeded.len()
    }

    pub fn failed(&self) -> usize {
        count(self.status.failed) + self.uncounted_failed.len()
    }

    pub fn active(&self) -> impl Iterator<Item = &Owned> {
        self.pods.iter().filter(|owned| owned.is_active() && !self.dismissed.contains(owned.uid()))
    }

    pub fn terminating(&self) -> usize {
        let ending = |owned: &&Owned| owned.is_ending() && !pod::is_finished(&owned.pod);
        self.pods.iter().filter(ending).count() + self.dismissed.len()
    }

    pub fn look_again(&mut self, seconds: i64) {
        self.actions.push(Action::RequeueAfter(Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1))));
    }

    pub fn tell(&mut self, kind: EventType, reason: &'static str, message: String) {
        self.actions.push(Action::Event { about: About::from(&*self.object), kind, reason, message });
    }

    /// Sets a condition; whether its status changed.
    pub fn set_condition(&mut self, kind: &str, status: &str, reason: &str, message: &str) -> bool {
        let now = self.now();
        let conditions = self.status.conditions.get_or_insert_default();
        let known = conditions.iter().position(|found| found.type_ == kind);
        if known.is_some_and(|at| conditions[at].status == status && conditions[at].reason.as_deref() == Some(reason)) {
            return false;
        }
        let condition = JobCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_probe_time: Some(now.clone()),
            last_transition_time: Some(now),
        };
        match known {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
        true
    }
}

pub(super) fn count(value: Option<i32>) -> usize {
    value.and_then(|value| usize::try_from(value).ok()).unwrap_or(0)
}
