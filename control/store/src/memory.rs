//! The state in memory: one shelf a resource, with its objects in order and its recent history.
//!
//! `State` is shared by both stores; [`MemoryStore`] is `State` alone, the twin that tests run on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use control_api::Resource;

use crate::object::{Key, Object};
use crate::store::{BoxFuture, Listing, Page, Store};
use crate::watch::{Event, EventKind, Expired, Watch};
use crate::write::{Change, Precondition, Write, WriteError};

/// History a resource keeps for watchers that resume; beyond it they get 410 and list again.
const EVENTS_PER_SHELF_MAX: usize = 2048;
/// The same in bytes of JSON, for resources with large objects.
const EVENT_BYTES_PER_SHELF_MAX: usize = 4 << 20;

/// Older history is kept only up to so many events: watchers that live have seen it, and an idle cluster's renewals
/// would fill the limits above with nothing of interest.
const OLD_EVENTS_PER_SHELF_MAX: usize = 128;
const EVENT_AGE: Duration = Duration::from_secs(300);

/// The largest object kept, as JSON; above the 1.5 MiB that Kubernetes' own store takes.
const OBJECT_BYTES_MAX: usize = 3 << 20;

type Name = (Arc<str>, Arc<str>);

/// A change and when it was made.
#[derive(Debug)]
struct Past {
    event: Event,
    at: Instant,
}

#[derive(Debug, Default)]
struct Contents {
    objects: BTreeMap<Name, Arc<Object>>,
    history: VecDeque<Past>,
    history_bytes: usize,
    /// Every event after this revision is still in `history`.
    complete_after: u64,
}

/// One resource's objects and history.
#[derive(Debug)]
pub struct Shelf {
    contents: RwLock<Contents>,
    changed: tokio::sync::watch::Sender<u64>,
}

impl Shelf {
    fn new(complete_after: u64) -> Self {
        let contents = Contents { complete_after, ..Contents::default() };
        Self { contents: RwLock::new(contents), changed: tokio::sync::watch::Sender::new(0) }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything after `position`, oldest first.
    pub(crate) fn events_after(&self, position: u64) -> Result<Vec<Event>, Expired> {
        let contents = self.read();
        if position < contents.complete_after {
            return Err(Expired { asked: position, oldest: contents.complete_after });
        }
        let start = contents.history.partition_point(|past| past.event.object.revision <= position);
        Ok(contents.history.range(start..).map(|past| past.event.clone()).collect())
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.read().objects.get(&(key.namespace.clone(), key.name.clone())).cloned()
    }

    /// Makes one change; watchers are told by [`Shelf::announce`].
    fn put(&self, object: Arc<Object>, deleted: bool) {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        let name = (object.key.namespace.clone(), object.key.name.clone());
        let previous =
            if deleted { contents.objects.remove(&name) } else { contents.objects.insert(name, object.clone()) };
        let kind = match (&previous, deleted) {
            (_, true) => EventKind::Deleted,
            (None, false) => EventKind::Added,
            (Some(_), false) => EventKind::Modified,
        };
        contents.remember(Event { kind, object, previous }, Instant::now());
    }

    fn announce(&self, revision: u64) {
        self.changed.send_replace(revision);
    }
}

impl Contents {
    fn remember(&mut self, event: Event, now: Instant) {
        self.history_bytes += event.object.json.len();
        self.history.push_back(Past { event, at: now });
        while let Some(oldest) = self.history.front()
            && (self.history.len() > EVENTS_PER_SHELF_MAX
                || self.history.len() > 1 && self.history_bytes > EVENT_BYTES_PER_SHELF_MAX
                || self.history.len() > OLD_EVENTS_PER_SHELF_MAX && now.duration_since(oldest.at) > EVENT_AGE)
        {
            self.history_bytes -= oldest.event.object.json.len();
            self.complete_after = oldest.event.object.revision;
            self.history.pop_front();
        }
    }
}

/// All shelves, and the newest revision applied.
#[derive(Debug)]
pub struct State {
    shelves: RwLock<HashMap<&'static Resource, Arc<Shelf>>>,
    /// Watches from before this revision cannot be served: the process did not see it.
    born: u64,
    revision: std::sync::atomic::AtomicU64,
}

impl State {
    /// An empty state whose history begins after `born`.
    pub fn new(born: u64) -> Self {
        Self { shelves: RwLock::default(), born, revision: born.into() }
    }

    fn shelf(&self, resource: &'static Resource) -> Arc<Shelf> {
        if let Some(shelf) = self.shelves.read().unwrap_or_else(PoisonError::into_inner).get(resource) {
            return shelf.clone();
        }
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        shelves.entry(resource).or_insert_with(|| Arc::new(Shelf::new(self.born))).clone()
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.shelf(key.resource).get(key)
    }

    pub fn revision(&self) -> u64 {
        self.revision.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Puts an object there as a start finds it, without an event.
    pub(crate) fn load(&self, object: Arc<Object>) {
        let shelf = self.shelf(object.key.resource);
        let name = (object.key.namespace.clone(), object.key.name.clone());
        shelf.contents.write().unwrap_or_else(PoisonError::into_inner).objects.insert(name, object);
    }

    /// Makes changes visible. Called in revision order, by one caller at a time.
    pub fn apply(&self, changes: impl IntoIterator<Item = (Arc<Object>, bool)>) {
        let mut touched: Vec<(Arc<Shelf>, u64)> = Vec::new();
        for (object, deleted) in changes {
            let (shelf, revision) = (self.shelf(object.key.resource), object.revision);
            // The revision is published after the object: a list at revision N holds all of N.
            shelf.put(object, deleted);
            self.revision.store(revision, std::sync::atomic::Ordering::Release);
            match touched.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &shelf)) {
                Some((_, newest)) => *newest = revision,
                None => touched.push((shelf, revision)),
            }
        }
        // Once a batch: waking a watcher costs more than a change.
        for (shelf, revision) in touched {
            shelf.announce(revision);
        }
    }

    pub fn list(&self, resource: &'static Resource, namespace: Option<&str>, page: &Page) -> Listing {
        use std::ops::Bound;
        let shelf = self.shelf(resource);
        let revision_before = self.revision();
        let contents = shelf.read();
        let newest = contents.history.back().map_or(0, |past| past.event.object.revision);
        let start = match (&page.after, namespace) {
            (Some((namespace, name)), _) => Bound::Excluded((Arc::from(namespace.as_str()), Arc::from(name.as_str()))),
            (None, Some(namespace)) => Bound::Included((Arc::from(namespace), Arc::from(""))),
            (None, None) => Bound::Unbounded,
        };
        // Nothing sorts between a namespace and itself with a zero byte behind it.
        let end = namespace.map_or(Bound::Unbounded, |namespace| {
            Bound::Excluded((Arc::from(format!("{namespace}\0")), Arc::from("")))
        });
        let revision = revision_before.max(newest);
        if let (Bound::Excluded(start), Bound::Excluded(end)) = (&start, &end)
            && start >= end
        {
            return Listing { revision, items: Vec::new() };
        }
        let items = contents
            .objects
            .range::<Name, _>((start, end))
            .take(if page.limit == 0 { usize::MAX } else { page.limit })
            .map(|(_, object)| object.clone())
            .collect();
        Listing { revision, items }
    }

    pub fn watch(&self, resource: &'static Resource, from: u64) -> Result<Watch, Expired> {
        let shelf = self.shelf(resource);
        let changed = shelf.changed.subscribe();
        shelf.events_after(from)?;
        Ok(Watch { shelf, position: from, changed })
    }
}

/// Checks a precondition against the current version.
pub(crate) fn check(current: Option<&Object>, precondition: Precondition) -> Result<(), WriteError> {
    match (precondition, current) {
        (Precondition::Absent, None) => Ok(()),
        (Precondition::Absent, Some(_)) => Err(WriteError::Exists),
        (Precondition::Revision(wanted), Some(object)) if object.revision == wanted => Ok(()),
        (Precondition::Revision(_), _) => Err(WriteError::Changed),
    }
}

/// Turns a change into the object it leaves behind, at `revision`.
pub(crate) fn finish(key: Key, change: Change, revision: u64) -> Result<(Arc<Object>, bool), WriteError> {
    let (draft, deleted) = match change {
        Change::Put(draft) => (draft, false),
        Change::Delete(draft) => (draft, true),
    };
    if draft.len() > OBJECT_BYTES_MAX {
        return Err(WriteError::TooLarge { bytes: draft.len() });
    }
    let (json, meta) = draft.finish(revision);
    Ok((Arc::new(Object { key, revision, json: json.into(), meta }), deleted))
}

/// The in-memory twin: the same behaviour with nothing on disk.
#[derive(Debug)]
pub struct MemoryStore {
    state: State,
    order: Mutex<()>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { state: State::new(1), order: Mutex::default() }
    }
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_now(&self, write: Write) -> Result<Arc<Object>, WriteError> {
        let _order = self.lock();
        check(self.state.get(&write.key).as_deref(), write.precondition)?;
        let (object, deleted) = finish(write.key, write.change, self.state.revision() + 1)?;
        self.state.apply([(object.clone(), deleted)]);
        Ok(object)
    }
}

impl Store for MemoryStore {
    fn write(&self, write: Write) -> BoxFuture<'_, Result<Arc<Object>, WriteError>> {
        Box::pin(std::future::ready(self.write_now(write)))
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.state.get(key)
    }

    fn list(&self, resource: &'static Resource, namespace: Option<&str>, page: &Page) -> Listing {
        self.state.list(resource, namespace, page)
    }

    fn watch(&self, resource: &'static Resource, from: u64) -> Result<Watch, Expired> {
        self.state.watch(resource, from)
    }

    fn revision(&self) -> u64 {
        self.state.revision()
    }
}

#[cfg(test)]
mod tests {
    use control_api::{Draft, resource};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_listing_of_one_namespace_ends_where_it_ends() {
        let store = MemoryStore::default();
        for (namespace, name) in [("a", "z"), ("default", "one"), ("default", "two"), ("default-b", "a"), ("e", "a")] {
            let draft = Draft::new(&json!({"metadata": {"name": name}})).expect("drafts");
            let key = Key::new(&resource::CONFIG_MAPS, namespace, name);
            let (precondition, change) = (Precondition::Absent, Change::Put(draft));
            store.write(Write { key, tier: crate::Tier::Volatile, precondition, change }).await.expect("is written");
        }
        let names = |namespace, page: &Page| {
            let items = store.list(&resource::CONFIG_MAPS, namespace, page).items;
            items.iter().map(|object| object.key.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(Some("default"), &Page::default()), ["one", "two"]);
        assert_eq!(names(None, &Page::default()).len(), 5);
        // A page that begins behind the namespace's last object is empty.
        for after in ["two", "zzz"] {
            let page = Page { after: Some(("default".to_owned(), after.to_owned())), limit: 0 };
            assert!(names(Some("default"), &page).is_empty());
        }
        let page = Page { after: Some(("e".to_owned(), "a".to_owned())), limit: 0 };
        assert!(names(Some("default"), &page).is_empty());
    }

    #[test]
    fn old_history_shrinks_to_its_latest_events() {
        let mut contents = Contents::default();
        let now = Instant::now();
        let event = |revision| {
            let draft = Draft::new(&json!({"metadata": {"name": "a"}})).expect("drafts");
            let key = Key::new(&resource::CONFIG_MAPS, "default", "a");
            let (object, _) = finish(key, Change::Put(draft), revision).expect("finishes");
            Event { kind: EventKind::Modified, object, previous: None }
        };
        for revision in 1..=1000 {
            contents.remember(event(revision), now);
        }
        assert_eq!((contents.history.len(), contents.complete_after), (1000, 0));
        contents.remember(event(1001), now + EVENT_AGE + Duration::from_secs(1));
        assert_eq!((contents.history.len(), contents.complete_after), (OLD_EVENTS_PER_SHELF_MAX, 1001 - 128));
    }
}
