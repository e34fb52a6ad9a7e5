//! Ephemeral containers: added to a pod through a subresource of their own, then neither changed nor removed.

use serde_json::{Value, json};

use crate::field::FieldError;
use crate::object::{get, list, text};

use super::check::Errors;
use super::{container, unsupported};

const NEVER: &str = "cannot be set for an Ephemeral Container";
const NOT_THERE: [&str; 6] = ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources"];

/// Neither a new pod nor a template brings any.
pub(super) fn refuse_new(object: &Value, wrong: &mut Errors) {
    for path in ["/spec", "/spec/template/spec"] {
        if !list(object, &format!("{path}/ephemeralContainers")).is_empty() {
            let field = format!("{}.ephemeralContainers", path.trim_start_matches('/').replace('/', "."));
            wrong.push(FieldError::forbidden(field, "cannot be set on create"));
        }
    }
}

/// Complaints about the ephemeral containers of `new` as successors of those of `old`.
pub(super) fn update(new: &Value, old: &Value, wrong: &mut Errors) {
    let (before, after) = (list(old, "/spec/ephemeralContainers"), list(new, "/spec/ephemeralContainers"));
    let found = |all: &[Value], name: &str| all.iter().find(|one| text(one, "/name") == name).cloned();
    for old in before {
        let name = text(old, "/name");
        let why = match found(after, name) {
            None => "removed",
            Some(new) if new != *old => "changed",
            Some(_) => continue,
        };
        let why = format!("existing ephemeral containers {name:?} may not be {why}");
        wrong.push(FieldError::forbidden("spec.ephemeralContainers", why));
    }
    let Some(spec) = get(new, "/spec") else { return };
    for (at, one) in after.iter().enumerate() {
        added(one, spec, &format!("spec.ephemeralContainers[{at}]"), wrong);
        if after.iter().take(at).any(|other| text(other, "/name") == text(one, "/name")) {
            let field = format!("spec.ephemeralContainers[{at}].name");
            wrong.push(FieldError::duplicate(field, &json!(text(one, "/name"))));
        }
    }
    // What is not built is refused of these as of all other containers.
    let mut complaints = Vec::new();
    unsupported::refuse(&json!({"containers": after}), "spec", &mut complaints);
    for mut complaint in complaints {
        complaint.field = complaint.field.replacen("spec.containers", "spec.ephemeralContainers", 1);
        wrong.push(complaint);
    }
}

fn added(one: &Value, spec: &Value, path: &str, wrong: &mut Errors) {
    let others = || list(spec, "/containers").iter().chain(list(spec, "/initContainers"));
    let known = |name: &str, all: &[Value]| all.iter().any(|other| text(other, "/name") == name);
    container::beside_others(one, path, spec, wrong);
    let name = text(one, "/name");
    if !name.is_empty() && others().any(|other| text(other, "/name") == name) {
        wrong.push(FieldError::duplicate(format!("{path}.name"), &json!(name)));
    }
    let target = text(one, "/targetContainerName");
    if !target.is_empty() && !known(target, list(spec, "/containers")) {
        wrong.push(FieldError::not_found(format!("{path}.targetContainerName"), &json!(target)));
    }
    for key in NOT_THERE {
        if get(one, &format!("/{key}")).is_some_and(|value| *value != json!({}) && *value != json!([])) {
            wrong.push(FieldError::forbidden(format!("{path}.{key}"), NEVER));
        }
    }
    for (at, mount) in list(one, "/volumeMounts").iter().enumerate() {
        for key in ["subPath", "subPathExpr"] {
            if !text(mount, &format!("/{key}")).is_empty() {
                wrong.push(FieldError::forbidden(format!("{path}.volumeMounts[{at}].{key}"), NEVER));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(ephemeral: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "main", "image": "a:1"}], "ephemeralContainers": ephemeral}})
    }

    fn complaints(new: &Value, old: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        update(&pod(new), &pod(old), &mut wrong);
        wrong.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_is_added_and_then_stays_as_it_is() {
        let one = json!({"name": "look", "image": "a:1", "targetContainerName": "main", "resources": {}});
        let changed = json!({"name": "look", "image": "b:1"});
        assert_eq!(complaints(&json!([one]), &json!([])), [""; 0]);
        assert_eq!(complaints(&json!([one]), &json!([one])), [""; 0]);
        let field = "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"look\" may not be";
        assert_eq!(complaints(&json!([]), &json!([one])), [format!("{field} removed")]);
        assert_eq!(complaints(&json!([changed]), &json!([one])), [format!("{field} changed")]);
    }

    #[test]
    fn what_makes_no_sense_of_one_is_refused_by_its_field() {
        let one = json!({
            "name": "main", "image": "a:1", "targetContainerName": "none", "ports": [{"containerPort": 1}],
            "volumeDevices": [{"name": "d", "devicePath": "/d"}],
            "securityContext": {"procMount": "Unmasked"},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "recursiveReadOnly": "Enabled"}],
        });
        let said = complaints(&json!([one]), &json!([])).join("\n");
        for part in [
            "spec.ephemeralContainers[0].name: Duplicate value: \"main\"",
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"none\"",
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers[0].volumeDevices: Forbidden",
            "spec.ephemeralContainers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be",
            "spec.ephemeralContainers[0].volumeMounts[0].recursiveReadOnly: Forbidden: may only be specified when readOnly",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        let mut wrong = Vec::new();
        refuse_new(&pod(&json!([{"name": "a"}])), &mut wrong);
        refuse_new(&json!({"spec": {"template": pod(&json!([{"name": "a"}]))}}), &mut wrong);
        assert_eq!(wrong[1].field, "spec.template.spec.ephemeralContainers");
    }
}
