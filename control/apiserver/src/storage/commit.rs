//! The last step of every write: the draft, and the store's answer or its dry run.

use std::sync::Arc;

use control_api::resource::SERVICES;
use control_api::{Draft, Reason, Status};
use control_store::{Change, Object, Precondition, Write, WriteError};
use serde_json::Value;

use super::Ask;
use crate::admit::certificate;
use crate::allocate::Reservation;
use crate::api::Api;
use crate::node_rule::node_of;
use crate::node_rule::restriction::{self, Operation};
use crate::rbac::guard;
use crate::tier;

/// The largest object kept, as etcd's request limit has it.
const OBJECT_BYTES_MAX: usize = 1536 << 10;

/// What a write found.
pub enum Outcome {
    Done(Arc<Object>),
    /// Create: the name is taken. Otherwise: another writer was first.
    Lost,
}

/// What is to be left under the key.
pub enum Intent<'a> {
    Create(&'a Value),
    Replace { old: &'a Value, new: &'a Value, revision: u64 },
    Remove { last: &'a Value, revision: u64 },
}

/// What only a Service gets: its address and its node ports. Hold the reservation through [`commit`].
pub fn allocated(api: &Api, ask: &Ask, object: &mut Value, old: Option<&Value>) -> Result<Option<Reservation>, Status> {
    if ask.resource != &SERVICES || ask.subresource.is_some() {
        return Ok(None);
    }
    api.allocator.allocate(&**api.store(), &ask.key(), object, old, ask.options.dry_run)
}

/// Writes, or under dry run builds what would be written.
pub async fn commit(api: &Api, ask: &Ask, intent: Intent<'_>, held: Option<Reservation>) -> Result<Outcome, Status> {
    let (old, operation) = match &intent {
        Intent::Create(new) => (None, Operation::Create(new)),
        Intent::Replace { old, new, .. } => (Some(*old), Operation::Update { old, new }),
        Intent::Remove { last, .. } => (Some(*last), Operation::Delete(last)),
    };
    if let Some(node) = node_of(&ask.user) {
        restriction::check(ask, node, operation)?;
    }
    if let Operation::Create(new) | Operation::Update { new, .. } = operation {
        guard::check(api, ask, old, new)?;
        certificate::check(api, ask, old, new)?;
    }
    let subresource = ask.subresource.as_deref();
    let level = |old, new| tier::of(ask.resource, &ask.namespace, subresource, old, new);
    let (value, precondition, tier, removes) = match intent {
        Intent::Create(new) => (new, Precondition::Absent, level(None, Some(new)), false),
        Intent::Replace { old, new, revision } => {
            (new, Precondition::Revision(revision), level(Some(old), Some(new)), false)
        }
        Intent::Remove { last, revision } => (last, Precondition::Revision(revision), level(Some(last), None), true),
    };
    let draft = Draft::new(value).map_err(|error| Status::bad_request(error.to_string()))?;
    if draft.len() > OBJECT_BYTES_MAX {
        let message = format!("Request entity too large: limit is {OBJECT_BYTES_MAX}");
        return Err(Status::new(Reason::RequestEntityTooLarge, message));
    }
    if ask.options.dry_run {
        return rehearse(api, ask, draft, precondition);
    }
    let change = if removes { Change::Delete(draft) } else { Change::Put(draft) };
    let write = Write { key: ask.key(), tier, precondition, change };
    let written = match held {
        None => api.store().write(write).await,
        // In a task of its own: a client that walks away must not free what its write may still take.
        Some(held) => {
            let store = api.store().clone();
            let writing = tokio::spawn(async move {
                let written = store.write(write).await;
                drop(held);
                written
            });
            writing.await.map_err(|_| Status::internal("the write could not be finished"))?
        }
    };
    match written {
        Ok(object) => Ok(Outcome::Done(object)),
        Err(WriteError::Exists | WriteError::Changed) => Ok(Outcome::Lost),
        Err(error @ WriteError::TooLarge { .. }) => Err(Status::new(Reason::RequestEntityTooLarge, error.to_string())),
        Err(WriteError::Full(why) | WriteError::Log(why)) => {
            Err(Status::internal(format!("the server's disk does not take writes: {why}")))
        }
        Err(error @ WriteError::Closed) => Err(Status::new(Reason::ServiceUnavailable, error.to_string())),
    }
}

/// A dry run: the object at the revision it has now; a new one has none.
fn rehearse(api: &Api, ask: &Ask, draft: Draft, precondition: Precondition) -> Result<Outcome, Status> {
    let key = ask.key();
    let (revision, (json, meta)) = match (precondition, api.store().get(&key)) {
        (Precondition::Absent, Some(_)) => return Ok(Outcome::Lost),
        (Precondition::Absent, None) => (0, draft.finish_unversioned()),
        (Precondition::Revision(revision), _) => (revision, draft.finish(revision)),
    };
    Ok(Outcome::Done(Arc::new(Object { key, revision, json: json.into(), meta })))
}
