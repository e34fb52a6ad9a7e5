//! The checkpoint: objects in redb, where a start begins. The only user of redb on the server.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

/// redb's default is 1 GiB; memory already holds every object, so its cache only serves the B-tree's inner pages.
const CACHE_BYTES: usize = 4 << 20;

/// `resource \0 namespace \0 name` to revision (8 bytes, little-endian) and JSON.
const OBJECTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("objects");
/// `applied`: the last log sequence folded in. `reserved`: revisions up to here may have been given out.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("cannot open the checkpoint database")]
    Open(#[source] Box<redb::DatabaseError>),
    #[error("cannot read or write the checkpoint database")]
    Access(#[source] Box<redb::Error>),
    #[error("a row of the checkpoint database is damaged: {0}")]
    Damaged(String),
}

fn access(error: impl Into<redb::Error>) -> CheckpointError {
    CheckpointError::Access(Box::new(error.into()))
}

/// One object as it lies in the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub revision: u64,
    pub json: Vec<u8>,
}

/// A change of one row; `json` absent is a removal.
#[derive(Debug, Clone)]
pub struct RowChange {
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub version: Option<(u64, bytes::Bytes)>,
}

/// What a start finds.
#[derive(Debug, Default)]
pub struct Loaded {
    pub rows: Vec<Row>,
    pub applied: u64,
    pub reserved: u64,
}

pub struct Checkpoint {
    database: Database,
}

impl Checkpoint {
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|error| CheckpointError::Open(Box::new(error)))?;
        Ok(Self { database })
    }

    /// On what is no file.
    #[cfg(test)]
    pub fn on(backend: impl redb::StorageBackend) -> Result<Self, CheckpointError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(|error| CheckpointError::Open(Box::new(error)))?;
        Ok(Self { database })
    }

    /// Everything is on the disk when this returns.
    pub fn close(self) -> Result<(), CheckpointError> {
        self.database.close().map_err(|error| CheckpointError::Open(Box::new(error)))
    }

    /// Everything, in key order.
    pub fn load(&self) -> Result<Loaded, CheckpointError> {
        let mut loaded = Loaded::default();
        let transaction = self.database.begin_read().map_err(access)?;
        let objects = match transaction.open_table(OBJECTS) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(loaded),
            Err(error) => return Err(access(error)),
        };
        for entry in objects.iter().map_err(access)? {
            let (key, value) = entry.map_err(access)?;
            loaded.rows.push(row(key.value(), value.value())?);
        }
        let numbers = transaction.open_table(NUMBERS).map_err(access)?;
        let number = |name| Ok(numbers.get(name).map_err(access)?.map_or(0, |value| value.value()));
        loaded.applied = number("applied")?;
        loaded.reserved = number("reserved")?;
        Ok(loaded)
    }

    /// Folds changes in, in one durable transaction, which also says how far the log is no longer needed.
    pub fn fold(&self, changes: &[RowChange], applied: u64, reserved: u64) -> Result<(), CheckpointError> {
        let mut transaction = self.database.begin_write().map_err(access)?;
        // Costs writes, but a start after a power cut then needs no repair of the whole file.
        transaction.set_quick_repair(true);
        {
            let mut objects = transaction.open_table(OBJECTS).map_err(access)?;
            for change in changes {
                let key = format!("{}\0{}\0{}", change.resource, change.namespace, change.name);
                match &change.version {
                    Some((revision, json)) => {
                        let mut value = Vec::with_capacity(8 + json.len());
                        value.extend_from_slice(&revision.to_le_bytes());
                        value.extend_from_slice(json);
                        objects.insert(key.as_bytes(), value.as_slice()).map_err(access)?;
                    }
                    None => {
                        objects.remove(key.as_bytes()).map_err(access)?;
                    }
                }
            }
            let mut numbers = transaction.open_table(NUMBERS).map_err(access)?;
            numbers.insert("applied", applied).map_err(access)?;
            numbers.insert("reserved", reserved).map_err(access)?;
        }
        transaction.commit().map_err(access)
    }
}

fn row(key: &[u8], value: &[u8]) -> Result<Row, CheckpointError> {
    let damaged = || CheckpointError::Damaged(String::from_utf8_lossy(key).into_owned());
    let text = std::str::from_utf8(key).map_err(|_| damaged())?;
    let mut parts = text.split('\0');
    let (Some(resource), Some(namespace), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(damaged());
    };
    let (revision, json) = value.split_at_checked(8).ok_or_else(damaged)?;
    let revision = u64::from_le_bytes(revision.try_into().map_err(|_| damaged())?);
    Ok(Row {
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        revision,
        json: json.to_vec(),
    })
}
