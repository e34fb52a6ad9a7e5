//! Roles, and what binds them.

use serde_json::json;

use crate::object::{list, text};

use super::age::age;
use super::{AGE, Column, NAME, Printer};

pub(super) static ROLE: Printer = Printer {
    columns: &[NAME, Column::new("Created At", "date", "The time the object was created.")],
    cells: |object, _| vec![json!(text(object, "/metadata/name")), json!(text(object, "/metadata/creationTimestamp"))],
};

pub(super) static BINDING: Printer = Printer {
    columns: &[
        NAME,
        Column::string("Role", "The role that is bound."),
        AGE,
        Column::wide("Users", "Users that the role is bound to."),
        Column::wide("Groups", "Groups that the role is bound to."),
        Column::wide("ServiceAccounts", "Service accounts that the role is bound to."),
    ],
    cells: |object, now| {
        let subjects = |kind: &str| {
            let found = list(object, "/subjects").iter().filter(|subject| text(subject, "/kind") == kind);
            let words = found.map(|subject| match kind {
                "ServiceAccount" => format!("{}/{}", text(subject, "/namespace"), text(subject, "/name")),
                _ => text(subject, "/name").to_owned(),
            });
            json!(words.collect::<Vec<_>>().join(", "))
        };
        vec![
            json!(text(object, "/metadata/name")),
            json!(format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name"))),
            age(object, now),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_shows_its_role_and_whom_it_is_bound_to() {
        let object = json!({
            "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "roleRef": {"kind": "ClusterRole", "name": "view"},
            "subjects": [
                {"kind": "User", "name": "u"}, {"kind": "Group", "name": "g"}, {"kind": "User", "name": "v"},
                {"kind": "ServiceAccount", "namespace": "n", "name": "s"},
            ],
        });
        let now = "1970-01-01T00:00:07Z".parse().expect("a time");
        assert_eq!(json!((BINDING.cells)(&object, now)), json!(["a", "ClusterRole/view", "7s", "u, v", "g", "n/s"]));
    }
}
