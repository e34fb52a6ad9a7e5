//! Jobs.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object::{get, integer, list, text};

use super::age::{age, human_duration};
use super::workload::{CONTAINERS, IMAGES, SELECTOR, template};
use super::{AGE, Column, NAME, Printer};

pub(super) static PRINTER: Printer = Printer {
    columns: &[
        NAME,
        Column::string("Status", "Status of the job."),
        Column::string("Completions", "Pods that succeeded, of those wanted."),
        Column::string("Duration", "Time required to complete the job."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: |object, now| {
        let mut cells = vec![
            json!(text(object, "/metadata/name")),
            json!(status(object)),
            json!(completions(object)),
            json!(duration(object, now)),
            age(object, now),
        ];
        cells.extend(template(object));
        cells
    },
};

fn status(object: &Value) -> &'static str {
    let holds = |kind: &str| {
        let conditions = list(object, "/status/conditions").iter();
        conditions.filter(|found| text(found, "/type") == kind).any(|found| text(found, "/status") == "True")
    };
    for (kind, word) in [("Complete", "Complete"), ("Failed", "Failed")] {
        if holds(kind) {
            return word;
        }
    }
    if get(object, "/metadata/deletionTimestamp").is_some() {
        return "Terminating";
    }
    let words = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
    words.into_iter().find(|word| holds(word)).unwrap_or("Running")
}

fn completions(object: &Value) -> String {
    let succeeded = integer(object, "/status/succeeded").unwrap_or(0);
    match (integer(object, "/spec/completions"), integer(object, "/spec/parallelism").unwrap_or(0)) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, 2..) => format!("{succeeded}/1 of {}", integer(object, "/spec/parallelism").unwrap_or(0)),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(object: &Value, now: Timestamp) -> String {
    let time = |key: &str| text(object, &format!("/status/{key}")).parse::<Timestamp>().ok();
    let Some(start) = time("startTime") else { return String::new() };
    let end = time("completionTime").unwrap_or(now);
    human_duration((end.as_millisecond() - start.as_millisecond()).div_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_shows_how_far_it_is() {
        let mut object = json!({
            "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {
                "completions": 3, "parallelism": 2, "selector": {"matchLabels": {"a": "b"}},
                "template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}},
            },
            "status": {"startTime": "1970-01-01T00:00:02Z", "succeeded": 1},
        });
        let now = "1970-01-01T00:00:07Z".parse().expect("a time");
        let wanted = json!(["a", "Running", "1/3", "5s", "7s", "c", "i:1", "a=b"]);
        assert_eq!(json!((PRINTER.cells)(&object, now)), wanted);
        object["status"]["completionTime"] = json!("1970-01-01T00:00:05Z");
        object["status"]["conditions"] = json!([{"type": "Complete", "status": "True"}]);
        object["spec"]["completions"] = Value::Null;
        let cells = (PRINTER.cells)(&object, now);
        assert_eq!(cells[1..4], [json!("Complete"), json!("1/1 of 2"), json!("3s")]);
    }
}
