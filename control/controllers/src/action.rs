//! What a controller asks for, as data; the runner executes it in order.

use std::time::Duration;

use control_client::{About, DeleteOptions, EventType, Key, Patch, Resource};
use serde_json::Value;

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Creates an object. Creates that follow each other are sent in batches of 1, 2, 4 and so on, and end at the first
    /// batch with a failure: a quota that refuses every pod is asked a few times, not a thousand.
    Create {
        resource: &'static Resource,
        namespace: String,
        object: Value,
        announce: Option<Announce>,
    },
    Patch {
        key: Key,
        patch: Patch,
    },
    /// A merge patch of the status.
    UpdateStatus {
        key: Key,
        status: Value,
    },
    /// A strategic patch of the status: conditions are merged by type.
    PatchStatus {
        key: Key,
        patch: Value,
    },
    Delete {
        key: Key,
        options: DeleteOptions,
        announce: Option<Announce>,
    },
    /// The whole object through a namespace's `finalize`.
    Finalize {
        key: Key,
        object: Value,
    },
    Event {
        about: About,
        kind: EventType,
        reason: &'static str,
        message: String,
    },
    /// Look at the key again after a while, though nothing changed.
    RequeueAfter(Duration),
}

/// An Event about `about` when the action was done, or was refused.
#[derive(Debug, Clone)]
pub struct Announce {
    pub about: About,
    pub done: &'static str,
    pub failed: &'static str,
    /// `pod`: the message is `Created pod: NAME`.
    pub noun: &'static str,
}

impl Action {
    /// The resource written, for the check against what the controller declared.
    pub fn output(&self) -> Option<&'static Resource> {
        match self {
            Self::Create { resource, .. } => Some(resource),
            Self::Patch { key, .. }
            | Self::UpdateStatus { key, .. }
            | Self::PatchStatus { key, .. }
            | Self::Delete { key, .. }
            | Self::Finalize { key, .. } => Some(key.resource),
            Self::Event { .. } | Self::RequeueAfter(_) => None,
        }
    }

    /// A change of metadata or spec as a merge patch.
    pub fn merge(key: &Key, patch: Value) -> Self {
        Self::Patch { key: key.clone(), patch: Patch::Merge(patch) }
    }
}
