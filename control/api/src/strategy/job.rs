//! The labels and the selector that a Job gets from its own uid, so that no two Jobs count the same pods.

use serde_json::{Value, json};

use crate::object::{child, flag, get, text};

/// On a Job's pods, and in its selector.
pub const CONTROLLER_UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
/// On a Job's pods.
pub const JOB_NAME_LABEL: &str = "batch.kubernetes.io/job-name";
/// The same two as they were called before they had a prefix; clients still select by them.
pub(crate) const OLD_UID_LABEL: &str = "controller-uid";
pub(crate) const OLD_NAME_LABEL: &str = "job-name";

/// Labels and selector of a Job that does not bring its own. What the client set stays, for validation to refuse.
pub(super) fn select(object: &mut Value) {
    if flag(object, "/spec/manualSelector") || get(object, "/spec/template").is_none() {
        return;
    }
    let (name, uid) = (text(object, "/metadata/name").to_owned(), text(object, "/metadata/uid").to_owned());
    let Some(spec) = child(object, "spec") else { return };
    let labels = child(spec, "template").and_then(|template| child(template, "metadata"));
    if let Some(labels) = labels.and_then(|metadata| child(metadata, "labels")).and_then(Value::as_object_mut) {
        for (key, value) in
            [(CONTROLLER_UID_LABEL, &uid), (JOB_NAME_LABEL, &name), (OLD_UID_LABEL, &uid), (OLD_NAME_LABEL, &name)]
        {
            labels.entry(key).or_insert_with(|| json!(value));
        }
    }
    let labels = child(spec, "selector").and_then(|selector| child(selector, "matchLabels"));
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.entry(CONTROLLER_UID_LABEL).or_insert_with(|| json!(uid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_selects_its_pods_by_its_uid_unless_it_says_otherwise() {
        let mut job = json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"template": {"spec": {}}}});
        select(&mut job);
        let labels = &job["spec"]["template"]["metadata"]["labels"];
        assert_eq!(
            labels,
            &json!({
                "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "a",
                "controller-uid": "u", "job-name": "a",
            })
        );
        assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
        let mut manual =
            json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"manualSelector": true, "template": {}}});
        select(&mut manual);
        assert_eq!(manual["spec"], json!({"manualSelector": true, "template": {}}));
    }
}
