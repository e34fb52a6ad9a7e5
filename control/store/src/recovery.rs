//! A start: the checkpoint's objects, then the log's commands that it lacks, then everything folded in.

use std::collections::BTreeMap;
use std::sync::Arc;

use control_api::{Draft, Meta, resource};
use serde_json::Value;

use crate::checkpoint::{Checkpoint, RowChange};
use crate::command::{Command, Op};
use crate::disk::LogFile;
use crate::durable::OpenError;
use crate::log::Log;
use crate::memory::State;
use crate::object::{Key, Object};

type Name = (String, String, String);
type Version = (u64, bytes::Bytes);

/// What a start begins with.
pub struct Recovered {
    pub state: Arc<State>,
    pub log: Log,
    /// Revisions up to here may be given out already.
    pub reserved: u64,
}

/// Reads both files and the checkpoint. Afterwards the checkpoint holds everything and the log is free.
pub fn recover(files: [Box<dyn LogFile>; 2], checkpoint: &Checkpoint) -> Result<Recovered, OpenError> {
    let loaded = checkpoint.load()?;
    let mut objects: BTreeMap<Name, Version> = loaded
        .rows
        .into_iter()
        .map(|row| ((row.resource, row.namespace, row.name), (row.revision, row.json.into())))
        .collect();
    let (mut log, replayed) = Log::open(files, loaded.applied).map_err(OpenError::Log)?;
    let mut reserved = loaded.reserved;
    let mut changed: BTreeMap<Name, Option<Version>> = BTreeMap::new();
    for record in &replayed {
        let command: Command = postcard::from_bytes(&record.payload)
            .map_err(|source| OpenError::Command { sequence: record.sequence, source })?;
        let revision = command.revision;
        match command.op {
            Op::Put { resource, namespace, name, json } => {
                let version = (revision, json);
                objects.insert((resource.clone(), namespace.clone(), name.clone()), version.clone());
                changed.insert((resource, namespace, name), Some(version));
            }
            Op::Delete { resource, namespace, name } => {
                let name = (resource, namespace, name);
                objects.remove(&name);
                changed.insert(name, None);
            }
            Op::Reserve { through } => reserved = reserved.max(through),
        }
        reserved = reserved.max(revision);
    }
    if !replayed.is_empty() {
        let changes: Vec<RowChange> = changed
            .into_iter()
            .map(|((resource, namespace, name), version)| RowChange { resource, namespace, name, version })
            .collect();
        checkpoint.fold(&changes, log.last_sequence(), reserved)?;
    }
    log.restart();
    // Every revision up to `reserved` may have been seen by a client, so this start counts from there on.
    let state = Arc::new(State::new(reserved));
    for ((resource, namespace, name), (revision, json)) in objects {
        load(&state, &resource, &namespace, &name, revision, json)?;
    }
    Ok(Recovered { state, log, reserved })
}

fn load(
    state: &State,
    resource_name: &str,
    namespace: &str,
    name: &str,
    revision: u64,
    json: bytes::Bytes,
) -> Result<(), OpenError> {
    let Some(resource) = resource::find_group_resource(resource_name) else {
        tracing::warn!(
            resource = resource_name,
            namespace,
            name,
            "an object of an unknown kind is left in the checkpoint"
        );
        return Ok(());
    };
    let trouble = |source| OpenError::Object { key: format!("{resource_name} {namespace}/{name}"), source };
    let meta = Meta::parse(&json).map_err(trouble)?;
    let object = Object { key: Key::new(resource, namespace, name), revision, json, meta };
    if resource_name != "leases.coordination.k8s.io" {
        state.load(Arc::new(object));
        return Ok(());
    }
    // A follower compares a Lease's version with the one it saw: under a new one it waits out a full lease.
    let revision = state.revision();
    let value: Value = serde_json::from_slice(&object.json).map_err(trouble)?;
    let draft = Draft::new(&value).map_err(|error| trouble(serde::de::Error::custom(error)))?;
    let (json, meta) = draft.finish(revision);
    state.load(Arc::new(Object { revision, json: json.into(), meta, ..object }));
    Ok(())
}
