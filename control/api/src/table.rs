//! The columns and cells that `kubectl get` prints, as `metav1.Table` has them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::Resource;

/// One column definition, as `metav1.TableColumnDefinition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the name column, else empty.
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always printed, 1 only with `-o wide`.
    pub priority: i32,
}

impl Column {
    /// The column as JSON, for `Table.columnDefinitions`.
    pub fn to_value(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority,
        })
    }
}

/// The columns of `resource`, in order.
pub fn columns(_resource: &Resource) -> &'static [Column] {
    &[]
}

/// The cells of one object, as many as [`columns`] has, ages counted up to `now`.
pub fn row(_resource: &Resource, _object: &Value, _now: Timestamp) -> Vec<Value> {
    Vec::new()
}
