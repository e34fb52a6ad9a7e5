//! Kinds whose rows are a few plain fields.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object::{list, map, text};
use crate::scale::selector_text;

use super::age::age;
use super::{AGE, Column, NAME, Printer, or};

fn name(object: &Value) -> Value {
    json!(text(object, "/metadata/name"))
}

fn count(object: &Value, pointer: &str) -> usize {
    map(object, pointer).map_or(0, |fields| fields.len())
}

/// What a kind without columns of its own shows.
pub(super) static ANY: Printer = Printer {
    columns: &[NAME, Column::string("Created At", "The time the object was created.")],
    cells: |object, _| vec![name(object), json!(text(object, "/metadata/creationTimestamp"))],
};

pub(super) static NAMESPACE: Printer = Printer {
    columns: &[NAME, Column::string("Status", "The status of the namespace"), AGE],
    cells: |object, now| vec![name(object), json!(text(object, "/status/phase")), age(object, now)],
};

pub(super) static CONFIG_MAP: Printer = Printer {
    columns: &[NAME, Column::integer("Data", "The number of keys."), AGE],
    cells: |object, now: Timestamp| {
        let keys = count(object, "/data") + count(object, "/binaryData");
        vec![name(object), json!(keys), age(object, now)]
    },
};

pub(super) static SECRET: Printer = Printer {
    columns: &[
        NAME,
        Column::string("Type", "Used to facilitate programmatic handling of secret data."),
        Column::integer("Data", "The number of keys."),
        AGE,
    ],
    cells: |object, now| {
        vec![name(object), json!(text(object, "/type")), json!(count(object, "/data")), age(object, now)]
    },
};

pub(super) static SERVICE_ACCOUNT: Printer = Printer {
    columns: &[NAME, Column::integer("Secrets", "The number of secrets that pods of the account may use."), AGE],
    cells: |object, now| vec![name(object), json!(list(object, "/secrets").len()), age(object, now)],
};

pub(super) static LEASE: Printer = Printer {
    columns: &[NAME, Column::string("Holder", "The identity of the holder of the lease."), AGE],
    cells: |object, now| vec![name(object), json!(text(object, "/spec/holderIdentity")), age(object, now)],
};

pub(super) static NETWORK_POLICY: Printer = Printer {
    columns: &[NAME, Column::string("Pod-Selector", "The pods that the policy is about."), AGE],
    cells: |object, now| {
        let selector = selector_text(object.pointer("/spec/podSelector").unwrap_or(&Value::Null));
        vec![name(object), or(&selector, "<none>"), age(object, now)]
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_its_type_and_number_of_keys() {
        let object = json!({
            "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "type": "Opaque", "data": {"x": "", "y": ""},
        });
        let now = "1970-01-01T00:05:00Z".parse().expect("a time");
        assert_eq!((SECRET.cells)(&object, now), vec![json!("a"), json!("Opaque"), json!(2), json!("5m")]);
    }
}
