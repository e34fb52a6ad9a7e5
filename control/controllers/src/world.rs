//! What a reconcile sees: the store's memory at this moment, the index, the time, and how long ago others were.

use std::sync::Arc;

use control_api::view::View;
use control_client::{Client, Index, Key, Object, Resource};
use jiff::Timestamp;

use crate::error::Error;
use crate::steps::Steps;

/// Read only; cheap to clone.
#[derive(Clone)]
pub struct World {
    client: Client,
    index: Arc<Index>,
    now: Timestamp,
    steps: Arc<Steps>,
}

impl World {
    pub fn new(client: Client, index: Arc<Index>, now: Timestamp) -> Self {
        Self { client, index, now, steps: Arc::default() }
    }

    /// The same for a clock that was set.
    pub fn after(self, steps: Arc<Steps>) -> Self {
        Self { steps, ..self }
    }

    /// The same world at another time.
    pub fn at(&self, now: Timestamp) -> Self {
        Self { now, ..self.clone() }
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Without the fraction, which Kubernetes' times do not have: what is written compares equal to what is read back.
    pub fn now_in_seconds(&self) -> Timestamp {
        Timestamp::from_second(self.now.as_second()).unwrap_or(self.now)
    }

    /// A written time as the clock of now would have told it: what is waited for since then goes by it, however the clock
    /// was set meanwhile.
    pub fn corrected(&self, time: Timestamp) -> Timestamp {
        self.steps.corrected(time, self.now)
    }

    /// The seconds that have passed since a written time.
    pub fn age_seconds(&self, time: Timestamp) -> i64 {
        self.now.as_second() - self.corrected(time).as_second()
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.client.get(key.resource, &key.namespace, &key.name)
    }

    /// All of a namespace, or of every namespace.
    pub fn list(&self, resource: &'static Resource, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.client.list(resource, namespace).items
    }

    pub fn index(&self) -> &Index {
        &self.index
    }
}

/// A typed, read-only view of an object.
pub fn view<T: View>(object: &Object) -> Result<T, Error> {
    control_client::view(object).map_err(|source| Error::View {
        kind: object.key.resource.kind,
        namespace: object.key.namespace.to_string(),
        name: object.key.name.to_string(),
        source,
    })
}
