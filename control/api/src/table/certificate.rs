//! CertificateSigningRequests.

use serde_json::{Value, json};

use crate::object::{integer, list, text};

use super::age::{age, human_duration};
use super::{AGE, Column, NAME, Printer, or};

pub(super) static PRINTER: Printer = Printer {
    columns: &[
        NAME,
        AGE,
        Column::string("SignerName", "Who is asked to sign."),
        Column::string("Requestor", "The user that asks."),
        Column::string("RequestedDuration", "How long the certificate is wanted for."),
        Column::string("Condition", "Whether it was approved, and whether it was signed."),
    ],
    cells: |object, now| {
        let seconds = integer(object, "/spec/expirationSeconds");
        let duration = seconds.map(human_duration);
        vec![
            json!(text(object, "/metadata/name")),
            age(object, now),
            or(text(object, "/spec/signerName"), "<none>"),
            json!(text(object, "/spec/username")),
            json!(duration.as_deref().unwrap_or("<none>")),
            json!(condition(object)),
        ]
    },
};

fn condition(object: &Value) -> String {
    let has = |kind: &str| list(object, "/status/conditions").iter().any(|found| text(found, "/type") == kind);
    let mut words = if has("Denied") {
        "Denied".to_owned()
    } else if has("Approved") {
        "Approved".to_owned()
    } else {
        "Pending".to_owned()
    };
    if has("Failed") {
        words += ",Failed";
    }
    if !text(object, "/status/certificate").is_empty() {
        words += ",Issued";
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_who_asks_for_what_and_how_far_it_is() {
        let mut object = json!({
            "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"signerName": "a.b/c", "username": "ann", "expirationSeconds": 3600},
        });
        let now = "1970-01-01T00:00:07Z".parse().expect("a time");
        assert_eq!(json!((PRINTER.cells)(&object, now)), json!(["a", "7s", "a.b/c", "ann", "60m", "Pending"]));
        object["status"] = json!({"conditions": [{"type": "Approved"}], "certificate": "YQ=="});
        assert_eq!(condition(&object), "Approved,Issued");
        object["status"] = json!({"conditions": [{"type": "Approved"}, {"type": "Failed"}]});
        assert_eq!(condition(&object), "Approved,Failed");
        object["status"] = json!({"conditions": [{"type": "Denied"}]});
        assert_eq!(condition(&object), "Denied");
    }
}
