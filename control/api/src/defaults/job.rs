//! Defaults of Jobs.

use serde_json::Value;

use crate::object::{child, fill, get, map};

use super::workload::template;

const BACKOFF_LIMIT: i32 = 6;

pub(super) fn job(object: &mut Value) {
    let labels = map(object, "/spec/template/metadata/labels").filter(|labels| !labels.is_empty()).cloned();
    let own = map(object, "/metadata/labels").is_some_and(|labels| !labels.is_empty());
    if let Some(labels) = labels.filter(|_| !own)
        && let Some(metadata) = child(object, "metadata")
    {
        metadata["labels"] = labels.into();
    }
    let Some(spec) = child(object, "spec") else { return };
    // Without both it is one pod; with parallelism alone it is a queue that its pods empty.
    if get(spec, "/completions").is_none() && get(spec, "/parallelism").is_none() {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    fill(spec, "backoffLimit", BACKOFF_LIMIT);
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", false);
    fill(spec, "podReplacementPolicy", "TerminatingOrFailed");
    template(spec);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_one_pod_and_a_queue_has_no_end_of_its_own() {
        let mut object =
            json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}}});
        job(&mut object);
        let spec = &object["spec"];
        assert_eq!(
            (&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]),
            (&json!(1), &json!(1), &json!(6))
        );
        assert_eq!(object["metadata"]["labels"], json!({"a": "b"}));
        let mut object = json!({"spec": {"parallelism": 3}});
        job(&mut object);
        assert_eq!(object["spec"].get("completions"), None);
        assert_eq!(object["spec"]["parallelism"], 3);
    }
}
