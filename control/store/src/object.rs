//! What is kept: an object's final bytes with its parsed metadata beside them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use control_api::{Meta, Resource};

/// Where an object lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub resource: &'static Resource,
    /// Empty for cluster-scoped resources.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(resource: &'static Resource, namespace: &str, name: &str) -> Self {
        Self { resource, namespace: namespace.into(), name: name.into() }
    }
}

/// One version of one object. Shared, never changed.
pub struct Object {
    pub key: Key,
    /// The revision of the write that made this version; `metadata.resourceVersion` in `json` says the same.
    pub revision: u64,
    /// Serialized once, at the write.
    pub json: Bytes,
    pub meta: Meta,
}

/// Without its content, which may be a Secret.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { resource, namespace, name } = &self.key;
        write!(f, "Object {{ {} {namespace}/{name} at {} }}", resource.plural, self.revision)
    }
}
