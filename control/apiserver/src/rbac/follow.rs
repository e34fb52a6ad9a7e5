//! The index kept current: before a request is decided, whatever changed since the last one is taken in. A role that
//! was written is in force for the very next request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use control_api::Resource;
use control_api::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES};
use control_store::{Event, EventKind, Expired, Object, Page, Store, Watch};

use super::index::Index;

/// Roles before the bindings that name them.
static FOLLOWED: [&Resource; 4] = [&CLUSTER_ROLES, &ROLES, &CLUSTER_ROLE_BINDINGS, &ROLE_BINDINGS];

/// The index as of `revision` of the store.
#[derive(Debug, Default)]
pub struct Rbac {
    current: RwLock<Current>,
    revision: AtomicU64,
}

#[derive(Debug, Default)]
struct Current {
    index: Index,
    /// Empty before the first look, and after a watch fell behind.
    watches: Vec<Watch>,
}

/// The index, while nobody changes it.
#[derive(Debug)]
pub struct Reading<'a>(RwLockReadGuard<'a, Current>);

impl std::ops::Deref for Reading<'_> {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.0.index
    }
}

impl Rbac {
    /// The index with everything that the store holds now.
    pub fn read(&self, store: &dyn Store) -> Reading<'_> {
        let newest = store.revision();
        if self.revision.load(Ordering::Acquire) != newest {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            current.catch_up(store);
            // What was made after `newest` may be in already; the next look finds nothing of it.
            self.revision.store(newest, Ordering::Release);
        }
        Reading(self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Current {
    fn catch_up(&mut self, store: &dyn Store) {
        let mut events = Vec::new();
        let kept = self.watches.iter_mut().try_for_each(|watch| {
            events.extend(watch.ready()?);
            Ok::<(), Expired>(())
        });
        if kept.is_ok() && self.watches.len() == FOLLOWED.len() {
            events.iter().for_each(|event| self.take(event));
            return;
        }
        self.start(store);
    }

    /// Reads everything anew.
    fn start(&mut self, store: &dyn Store) {
        *self = Self::default();
        for resource in FOLLOWED {
            let listing = store.list(resource, None, &Page::default());
            // History cannot have ended before the list that was just made, unless thousands of roles changed since:
            // then this is done again at the next request.
            let Ok(watch) = store.watch(resource, listing.revision) else { continue };
            listing.items.iter().for_each(|object| self.put(object));
            self.watches.push(watch);
        }
    }

    fn take(&mut self, event: &Event) {
        let object = &*event.object;
        match (event.kind == EventKind::Deleted, is_role(object)) {
            (false, _) => self.put(object),
            (true, true) => self.index.remove_role(object),
            (true, false) => self.index.remove_binding(object),
        }
    }

    fn put(&mut self, object: &Object) {
        if is_role(object) { self.index.put_role(object) } else { self.index.put_binding(object) }
    }
}

fn is_role(object: &Object) -> bool {
    object.key.resource == &CLUSTER_ROLES || object.key.resource == &ROLES
}
