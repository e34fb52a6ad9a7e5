//! The columns and cells that `kubectl get` prints, as `metav1.Table` has them.

mod age;
mod certificate;
mod event;
mod job;
mod node;
mod plain;
mod pod;
mod role;
mod service;
mod storage;
mod workload;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object::map;
use crate::resource::Resource;

pub use age::human_duration;

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
    const fn new(name: &'static str, kind: &'static str, description: &'static str) -> Self {
        Self { name, kind, format: "", description, priority: 0 }
    }

    const fn string(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "string", description)
    }

    const fn integer(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "integer", description)
    }

    const fn wide(name: &'static str, description: &'static str) -> Self {
        Self { name, kind: "string", format: "", description, priority: 1 }
    }

    /// The column as JSON, for `Table.columnDefinitions`.
    pub fn to_value(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority,
        })
    }
}

const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    description: "Name must be unique within a namespace.",
    priority: 0,
};
const AGE: Column = Column::string("Age", "The time since the object was created.");

/// What a kind contributes: its columns, and the cells of one object up to a time.
struct Printer {
    columns: &'static [Column],
    cells: fn(&Value, Timestamp) -> Vec<Value>,
}

fn printer(resource: &Resource) -> &'static Printer {
    match resource.kind {
        "Pod" => &pod::PRINTER,
        "Node" => &node::PRINTER,
        "Deployment" => &workload::DEPLOYMENT,
        "ReplicaSet" | "ReplicationController" => &workload::REPLICA_SET,
        "Event" => &event::PRINTER,
        "Namespace" => &plain::NAMESPACE,
        "ConfigMap" => &plain::CONFIG_MAP,
        "Secret" => &plain::SECRET,
        "ServiceAccount" => &plain::SERVICE_ACCOUNT,
        "Lease" => &plain::LEASE,
        "DaemonSet" => &workload::DAEMON_SET,
        "ControllerRevision" => &workload::CONTROLLER_REVISION,
        "Job" => &job::PRINTER,
        "Service" => &service::SERVICE,
        "Endpoints" => &service::ENDPOINTS,
        "EndpointSlice" => &service::ENDPOINT_SLICE,
        "NetworkPolicy" => &plain::NETWORK_POLICY,
        "Role" | "ClusterRole" => &role::ROLE,
        "RoleBinding" | "ClusterRoleBinding" => &role::BINDING,
        "PersistentVolume" => &storage::VOLUME,
        "PersistentVolumeClaim" => &storage::CLAIM,
        "StorageClass" => &storage::CLASS,
        "CertificateSigningRequest" => &certificate::PRINTER,
        _ => &plain::ANY,
    }
}

/// The columns of `resource`, in order.
pub fn columns(resource: &Resource) -> &'static [Column] {
    printer(resource).columns
}

/// The cells of one object, as many as [`columns`] has, ages counted up to `now`.
pub fn row(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    (printer(resource).cells)(object, now)
}

/// A text cell; `placeholder` stands for nothing.
fn or(text: &str, placeholder: &str) -> Value {
    Value::String(if text.is_empty() { placeholder } else { text }.to_owned())
}

/// A map of labels as `a=b,c=d`, keys in order.
fn labels(object: &Value, pointer: &str) -> String {
    let pairs = map(object, pointer).into_iter().flatten();
    let mut pairs: Vec<String> =
        pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.sort_unstable();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;

    #[test]
    fn every_kind_has_as_many_cells_as_columns() {
        for resource in resource::all() {
            let columns = columns(resource);
            let cells = row(resource, &json!({"metadata": {"name": "a"}}), Timestamp::UNIX_EPOCH);
            assert_eq!(cells.len(), columns.len(), "{}", resource.kind);
            assert_eq!(columns.iter().filter(|column| column.format == "name").count(), 1, "{}", resource.kind);
        }
    }
}
