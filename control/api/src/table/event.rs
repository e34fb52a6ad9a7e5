//! Events.

use serde_json::{Value, json};

use crate::object::{get, integer, text};

use super::age::since_text;
use super::{Column, Printer};

pub(super) static PRINTER: Printer = Printer {
    columns: &[
        Column::string("Last Seen", "The time at which the most recent occurrence of this event was recorded."),
        Column::string("Type", "Type of this event (Normal, Warning), new types could be added in the future"),
        Column::string("Reason", "A short, machine understandable reason for the object's current status."),
        Column::string("Object", "The object this event is about."),
        Column::wide("Subobject", "The part of the object this event is about."),
        Column::wide("Source", "The component reporting this event."),
        Column::string("Message", "A human-readable description of the status of this operation."),
        Column::wide("First Seen", "The time at which the event was first recorded."),
        Column::wide("Count", "The number of times this event has occurred."),
        Column { format: "name", ..Column::wide("Name", "Name must be unique within a namespace.") },
    ],
    cells: |object, now| {
        let at = |pointer: &str| Some(text(object, pointer)).filter(|time| !time.is_empty());
        let first = at("/firstTimestamp").or(at("/eventTime")).unwrap_or("");
        let series = get(object, "/series");
        let last = match series {
            Some(_) => text(object, "/series/lastObservedTime"),
            None => at("/lastTimestamp").unwrap_or(first),
        };
        let count = match series {
            Some(series) => integer(series, "/count").unwrap_or(0),
            None => integer(object, "/count").filter(|count| *count != 0).unwrap_or(1),
        };
        vec![
            json!(since_text(last, now)),
            json!(text(object, "/type")),
            json!(text(object, "/reason")),
            json!(target(object)),
            json!(text(object, "/involvedObject/fieldPath")),
            json!(source(object)),
            json!(text(object, "/message").trim()),
            json!(since_text(first, now)),
            json!(count),
            json!(text(object, "/metadata/name")),
        ]
    },
};

fn target(object: &Value) -> String {
    let kind = text(object, "/involvedObject/kind").to_lowercase();
    match text(object, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn source(object: &Value) -> String {
    let either = |old: &str, new: &str| {
        let old = text(object, old);
        if old.is_empty() { text(object, new).to_owned() } else { old.to_owned() }
    };
    let component = either("/source/component", "/reportingComponent");
    match either("/source/host", "/reportingInstance").as_str() {
        "" => component,
        host => format!("{component}, {host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_events_print_alike() {
        let now = "2026-01-01T00:10:00Z".parse().expect("a time");
        let old = json!({
            "metadata": {"name": "a.1"}, "type": "Normal", "reason": "Pulled", "message": "done\n", "count": 3,
            "involvedObject": {"kind": "Pod", "name": "a", "fieldPath": "spec.containers{c}"},
            "source": {"component": "kubelet", "host": "n1"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:09:30Z",
        });
        let wanted =
            json!(["30s", "Normal", "Pulled", "pod/a", "spec.containers{c}", "kubelet, n1", "done", "10m", 3, "a.1",]);
        assert_eq!(json!((PRINTER.cells)(&old, now)), wanted);
        let new = json!({
            "metadata": {"name": "b"}, "eventTime": "2026-01-01T00:09:00.000000Z",
            "reportingComponent": "default-scheduler", "involvedObject": {"kind": "Node"},
        });
        let wanted = json!(["60s", "", "", "node", "", "default-scheduler", "", "60s", 1, "b"]);
        assert_eq!(json!((PRINTER.cells)(&new, now)), wanted);
    }
}
