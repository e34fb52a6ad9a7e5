//! What a controller declares: who reads and who writes is data.

use control_client::{Event, EventKind, Key, Object, Resource};

use crate::action::Action;
use crate::error::Error;
use crate::world::World;

/// A resource that a controller follows, and the keys that a change of one of its objects concerns.
#[derive(Clone, Copy)]
pub struct Input {
    pub resource: &'static Resource,
    pub keys: fn(&World, &Change<'_>) -> Vec<Key>,
}

/// What a change is, as an [`Input`] sees it.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    pub object: &'a Object,
    /// The version before; none for a new object and where the history was lost.
    pub previous: Option<&'a Object>,
    pub deleted: bool,
}

impl<'a> Change<'a> {
    pub fn present(object: &'a Object) -> Self {
        Self { object, previous: None, deleted: false }
    }
}

impl<'a> From<&'a Event> for Change<'a> {
    fn from(event: &'a Event) -> Self {
        Self { object: &event.object, previous: event.previous.as_deref(), deleted: event.kind == EventKind::Deleted }
    }
}

/// Pure logic; the runner does the rest.
pub trait Controller: Send + Sync + 'static {
    /// As the source of Events and in logs: `replicaset-controller`.
    fn name(&self) -> &'static str;

    fn inputs(&self) -> Vec<Input>;

    /// Resources that the actions write; the runner refuses others.
    fn outputs(&self) -> &'static [&'static Resource];

    /// Keys to look at once at the start though no object may be there yet.
    fn initial(&self) -> Vec<Key> {
        Vec::new()
    }

    /// What is to be done about one key, given the world as it is now.
    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error>;
}

/// The changed object itself.
pub fn itself(_: &World, change: &Change<'_>) -> Vec<Key> {
    vec![change.object.key.clone()]
}

/// The object's controller before and after, where it is of `resource`.
pub fn controller_of(resource: &'static Resource, change: &Change<'_>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for object in [Some(change.object), change.previous].into_iter().flatten() {
        if let Some(owner) = object.meta.controller()
            && owner.kind == resource.kind
        {
            let key = Key::new(resource, &object.key.namespace, &owner.name);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}
