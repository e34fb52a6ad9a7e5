//! A request after HTTP decoding and before everything else: what a controller and a kubectl user have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use control_api::Resource;
use control_store::Object;
use serde_json::Value;

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// Empty where the way of authentication knows none.
    pub uid: String,
    pub groups: Vec<String>,
    /// What else authentication knows: the pod and node that a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A part of the control plane itself: `system:kube-scheduler`, in `system:masters`.
    pub fn system(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            ..Self::default()
        }
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    Json,
    Merge,
    Strategic,
}

/// What is wanted, with the body it needs. Reads (get, list, watch) do not come this way: they go to the store.
#[derive(Debug, Clone)]
pub enum Verb {
    Create(Value),
    Update(Value),
    Patch(PatchKind, Bytes),
    Delete(DeleteOptions),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    #[default]
    Background,
    Foreground,
    Orphan,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    pub preconditions: Preconditions,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub field_manager: String,
    /// `Strict`, `Warn` or `Ignore`; empty is `Warn`.
    pub field_validation: String,
    /// Paths of keys that the body held twice; for field validation.
    pub duplicate_fields: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Call {
    pub user: User,
    pub verb: Verb,
    pub resource: &'static Resource,
    /// `status`, `scale`, `binding`, `eviction`.
    pub subresource: Option<String>,
    /// Empty for cluster-scoped resources.
    pub namespace: String,
    /// Empty for a create.
    pub name: String,
    pub options: WriteOptions,
}

/// What a write leaves.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The object as stored (under dry run: as it would be), and warnings for the client.
    Object { object: Arc<Object>, created: bool, warnings: Vec<String> },
    /// An answer that is not a stored object: a Scale, or a Status of success.
    Value { value: Value, created: bool, warnings: Vec<String> },
}
