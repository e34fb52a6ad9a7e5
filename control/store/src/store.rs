//! The trait both stores fulfil: the durable one and its in-memory twin.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use control_api::Resource;

use crate::object::{Key, Object};
use crate::watch::{Expired, Watch};
use crate::write::{Write, WriteError};

/// A boxed future, so that `dyn Store` works.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Objects in order of namespace and name, as of `revision`.
#[derive(Debug, Clone)]
pub struct Listing {
    pub revision: u64,
    pub items: Vec<Arc<Object>>,
}

/// One page of a long list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Namespace and name after which to begin.
    pub after: Option<(String, String)>,
    /// At most so many; 0 is all.
    pub limit: usize,
}

/// Reads come from memory and never wait; a write answers when its tier's promise holds.
pub trait Store: Send + Sync + 'static {
    /// Does one change; the new version (for a delete, the last).
    fn write(&self, write: Write) -> BoxFuture<'_, Result<Arc<Object>, WriteError>>;

    fn get(&self, key: &Key) -> Option<Arc<Object>>;

    /// All of `namespace`, or of every namespace.
    fn list(&self, resource: &'static Resource, namespace: Option<&str>, page: &Page) -> Listing;

    /// Everything after revision `from`, in order, without a gap. `Expired` where history does not reach back.
    fn watch(&self, resource: &'static Resource, from: u64) -> Result<Watch, Expired>;

    /// The newest revision that a read can see.
    fn revision(&self) -> u64;

    /// Why writes are refused until a restart, where they are.
    fn failure(&self) -> Option<String> {
        None
    }
}
