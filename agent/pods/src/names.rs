//! What a pod and its parts may be called. Their names become names of folders, logs and cgroups; the API checks them, and
//! the node does so again, since it is the one that a way out of its folder would hurt.

use control_api::name;
use control_api::view::core::Pod;

/// Far above what any pod has; each costs a slot of the pod's state.
const CONTAINERS_MAX: usize = 1000;
const UID_BYTES_MAX: usize = 128;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("{field} {value:?} is no name of that kind")]
    Name { field: &'static str, value: String },
    #[error("{0} containers are over the limit of {CONTAINERS_MAX}")]
    Containers(usize),
}

pub fn check(pod: &Pod) -> Result<(), NameError> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let meta = &pod.metadata;
    allow("metadata.uid", &text(&meta.uid), is_uid)?;
    allow("metadata.namespace", &text(&meta.namespace), is_label)?;
    allow("metadata.name", &text(&meta.name), |name| name::dns_subdomain(name).is_empty())?;
    let Some(spec) = &pod.spec else { return Ok(()) };
    let extra = spec.init_containers.iter().chain(&spec.ephemeral_containers).flatten();
    let containers: Vec<_> = spec.containers.iter().chain(extra).collect();
    if containers.len() > CONTAINERS_MAX {
        return Err(NameError::Containers(containers.len()));
    }
    containers.iter().try_for_each(|container| allow("a container's name", &container.name, is_label))?;
    spec.volumes.iter().flatten().try_for_each(|volume| allow("a volume's name", &volume.name, is_label))
}

fn allow(field: &'static str, value: &str, is_allowed: impl Fn(&str) -> bool) -> Result<(), NameError> {
    if is_allowed(value) {
        return Ok(());
    }
    Err(NameError::Name { field, value: value.chars().take(UID_BYTES_MAX).collect() })
}

fn is_label(text: &str) -> bool {
    name::dns_label(text).is_empty()
}

/// Most are UUIDs; that of a static pod is a hash, and tests like short ones.
fn is_uid(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    plain && (1..=UID_BYTES_MAX).contains(&text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn changed(pointer: &str, value: Value) -> Result<(), NameError> {
        let mut pod = json!({
            "metadata": {"name": "web.1", "namespace": "default", "uid": "0a-9F"},
            "spec": {"containers": [{"name": "main"}], "initContainers": [{"name": "first"}],
                "ephemeralContainers": [{"name": "look"}], "volumes": [{"name": "data"}]},
        });
        *pod.pointer_mut(pointer).expect("a field") = value;
        check(&serde_json::from_value(pod).expect("a pod"))
    }

    #[test]
    fn names_that_climb_are_refused_wherever_they_stand() {
        changed("/metadata/name", json!("web")).unwrap();
        for pointer in [
            "/metadata/name",
            "/metadata/namespace",
            "/metadata/uid",
            "/spec/containers/0/name",
            "/spec/initContainers/0/name",
            "/spec/ephemeralContainers/0/name",
            "/spec/volumes/0/name",
        ] {
            for bad in ["", ".", "..", "../../x", "a/b", "/", "a\0b", "a\nb"] {
                changed(pointer, json!(bad)).unwrap_err();
            }
        }
        let many: Vec<Value> = (0..=CONTAINERS_MAX).map(|number| json!({"name": format!("c{number}")})).collect();
        assert_eq!(changed("/spec/containers", json!(many)), Err(NameError::Containers(CONTAINERS_MAX + 3)));
    }
}
