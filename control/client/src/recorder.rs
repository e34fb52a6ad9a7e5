//! Events as `kubectl describe` shows them. A repeat of a recent Event raises its count instead of adding another.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use control_api::resource::EVENTS;
use control_api::{Reason, Resource};
use control_store::Object;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::{Client, Patch};

/// Recent Events that a repeat is matched against; the oldest are forgotten.
const RECENT_MAX: usize = 1024;
/// Kubernetes' limit on `Event.message`.
const MESSAGE_BYTES_MAX: usize = 1024;

/// What an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct About {
    pub resource: &'static Resource,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub revision: u64,
}

impl From<&Object> for About {
    fn from(object: &Object) -> Self {
        Self {
            resource: object.key.resource,
            namespace: object.key.namespace.to_string(),
            name: object.key.name.to_string(),
            uid: object.meta.uid.clone(),
            revision: object.revision,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Repeat {
    uid: String,
    name: String,
    reason: String,
    message: String,
}

#[derive(Debug, Default)]
struct Recent {
    events: HashMap<Repeat, (String, u64)>,
    order: VecDeque<Repeat>,
}

/// Writes Events as one component. Failures are dropped: an Event never holds up the work it tells of.
pub struct Recorder {
    client: Client,
    component: String,
    recent: Mutex<Recent>,
}

impl Recorder {
    pub fn new(client: Client, component: &str) -> Self {
        Self { client, component: component.to_owned(), recent: Mutex::default() }
    }

    pub async fn record(&self, about: &About, kind: EventType, reason: &str, message: &str) {
        let message = shorten(message);
        let repeat = Repeat {
            uid: about.uid.clone(),
            name: about.name.clone(),
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let now = Timestamp::now();
        let namespace = if about.namespace.is_empty() { "default" } else { &about.namespace };
        if let Some((name, count)) = self.count(&repeat) {
            let patch = json!({"count": count, "lastTimestamp": seconds(now)});
            match self.client.patch(&EVENTS, namespace, &name, None, Patch::Merge(patch)).await {
                Err(status) if status.reason == Reason::NotFound => {}
                _ => return,
            }
        }
        let name = format!("{}.{:x}", about.name, now.as_nanosecond());
        let event = self.event(about, kind, reason, message, now, namespace, &name);
        match self.client.create(&EVENTS, namespace, event).await {
            Ok(_) => self.remember(repeat, name),
            Err(status) => tracing::debug!(%reason, error = %status, "an event was not written"),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn event(
        &self,
        about: &About,
        kind: EventType,
        reason: &str,
        message: &str,
        now: Timestamp,
        namespace: &str,
        name: &str,
    ) -> Value {
        let kind = match kind {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let mut involved = json!({
            "kind": about.resource.kind, "apiVersion": about.resource.api_version(), "name": about.name,
            "uid": about.uid, "resourceVersion": about.revision.to_string(),
        });
        if !about.namespace.is_empty() {
            involved["namespace"] = json!(about.namespace);
        }
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved, "reason": reason, "message": message, "type": kind,
            "source": {"component": self.component}, "reportingComponent": self.component, "reportingInstance": "",
            "firstTimestamp": seconds(now), "lastTimestamp": seconds(now), "count": 1,
        })
    }

    fn count(&self, repeat: &Repeat) -> Option<(String, u64)> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, count) = recent.events.get_mut(repeat)?;
        *count += 1;
        Some((name.clone(), *count))
    }

    fn remember(&self, repeat: Repeat, name: String) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.events.insert(repeat.clone(), (name, 1)).is_none() {
            recent.order.push_back(repeat);
        }
        while recent.order.len() > RECENT_MAX {
            if let Some(oldest) = recent.order.pop_front() {
                recent.events.remove(&oldest);
            }
        }
    }
}

fn shorten(message: &str) -> &str {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

/// Kubernetes' `metav1.Time` has whole seconds.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
