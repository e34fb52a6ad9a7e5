//! `metav1.Table` answers; the columns and cells are `control_api::table`'s.

use bytes::Bytes;
use control_api::{Resource, Status, table};
use control_store::Object;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::negotiate::{Include, metadata, parse};

/// A Table's `columnDefinitions`.
pub fn columns(resource: &Resource) -> Value {
    table::columns(resource).iter().map(table::Column::to_value).collect()
}

/// One row.
pub fn row(object: &Object, include: Include, now: Timestamp) -> Result<Value, Status> {
    let value = parse(object)?;
    let cells = table::row(object.key.resource, &value, now);
    let mut row = json!({"cells": cells});
    match include {
        Include::None => {}
        Include::Metadata => row["object"] = metadata(&value),
        Include::Object => row["object"] = value,
    }
    Ok(row)
}

/// A Table of one object, as get and watch answer. Only the first Table of a watch needs its columns.
pub fn of_one(object: &Object, include: Include, with_columns: bool) -> Result<Bytes, Status> {
    let columns = if with_columns { columns(object.key.resource) } else { Value::Null };
    let row = row(object, include, Timestamp::now())?;
    let table = json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": object.revision.to_string()},
        "columnDefinitions": columns, "rows": [row],
    });
    Ok(table.to_string().into())
}
