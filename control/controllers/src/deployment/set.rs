//! A ReplicaSet as its Deployment sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use control_api::view::apps::ReplicaSet;
use control_client::Object;
use serde_json::Value;

use crate::error::Error;
use crate::world::view;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
pub(super) const HASH_LABEL: &str = "pod-template-hash";

#[derive(Debug, Clone)]
pub(super) struct Set {
    pub object: Arc<Object>,
    /// Follows what the actions so far ask for.
    pub replicas: i32,
    pub status_replicas: i32,
    pub ready: i32,
    pub available: i32,
    pub observed_generation: i64,
    pub ready_seconds_min: i32,
    pub annotations: BTreeMap<String, String>,
    /// Without the hash label.
    pub template: Value,
    /// Seconds since 1970.
    pub created: i64,
}

impl Set {
    pub fn load(object: Arc<Object>) -> Result<Self, Error> {
        let set: ReplicaSet = view(&object)?;
        let raw: Value = view(&object)?;
        let spec = set.spec.unwrap_or_default();
        let status = set.status.unwrap_or_default();
        Ok(Self {
            replicas: spec.replicas.unwrap_or(1),
            status_replicas: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            observed_generation: status.observed_generation.unwrap_or(0),
            ready_seconds_min: spec.min_ready_seconds.unwrap_or(0),
            annotations: set.metadata.annotations.unwrap_or_default(),
            template: plain_template(&raw["spec"]["template"]),
            created: set.metadata.creation_timestamp.map_or(0, |time| time.0.as_second()),
            object,
        })
    }

    pub fn name(&self) -> &str {
        &self.object.key.name
    }

    pub fn revision(&self) -> i64 {
        self.annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub fn number(&self, annotation: &str) -> Option<i32> {
        self.annotations.get(annotation).and_then(|text| text.parse().ok())
    }
}

/// A template as it is compared: without the hash label, and without what says nothing.
pub(super) fn plain_template(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(HASH_LABEL);
        }
        metadata.retain(|_, value| !value.is_null());
    }
    template
}
