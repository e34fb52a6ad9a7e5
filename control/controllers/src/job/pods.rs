//! What a Job's pod looks like.

use control_client::{Object, Patch};
use serde_json::{Value, json};

use super::{FINALIZER, finalizers_patch};
use crate::action::Action;
use crate::replica_set::new_pod;

/// Annotation and label of a pod of an indexed Job.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// A generated name leaves room for its ending, as in Kubernetes.
const NAME_BASE_MAX: usize = 57;

pub(super) fn index(pod: &Object) -> Option<u32> {
    pod.meta.labels.get(INDEX).and_then(|text| text.parse().ok())
}

/// A pod of the Job's template; `index` for an indexed one.
pub(super) fn make(job: &Object, raw: &Value, index: Option<u32>) -> Value {
    let mut pod = new_pod(job, &raw["spec"]["template"]);
    let finalizers = pod["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    pod["metadata"]["finalizers"] = finalizers.into_iter().chain([json!(FINALIZER)]).collect();
    let Some(index) = index else { return pod };
    let base = format!("{}-{index}", job.key.name);
    pod["metadata"]["generateName"] = json!(format!("{}-", &base[..base.len().min(NAME_BASE_MAX)]));
    pod["metadata"]["labels"][INDEX] = json!(index.to_string());
    pod["metadata"]["annotations"][INDEX] = json!(index.to_string());
    if pod["spec"]["hostname"].is_null() {
        pod["spec"]["hostname"] = json!(base);
    }
    let source = json!({"fieldRef": {"fieldPath": format!("metadata.labels['{INDEX}']")}});
    let variable = json!({"name": INDEX_VARIABLE, "valueFrom": source});
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let mut env = container["env"].as_array().cloned().unwrap_or_default();
            if env.iter().any(|one| one["name"] == INDEX_VARIABLE) {
                continue;
            }
            env.push(variable.clone());
            container["env"] = env.into();
        }
    }
    pod
}

pub(super) fn without_finalizer(pod: &Object) -> Action {
    let rest: Vec<String> = pod.meta.finalizers.iter().filter(|name| *name != FINALIZER).cloned().collect();
    Action::Patch { key: pod.key.clone(), patch: Patch::Merge(finalizers_patch(pod, &rest)) }
}

pub(super) fn with_finalizer(pod: &Object) -> Action {
    let all: Vec<String> = pod.meta.finalizers.iter().cloned().chain([FINALIZER.to_owned()]).collect();
    Action::Patch { key: pod.key.clone(), patch: Patch::Merge(finalizers_patch(pod, &all)) }
}
