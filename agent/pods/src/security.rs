//! Who a container runs as and what it may do: the pod's and the container's securityContext, the container's first.

use control_api::view::core::{Container, Pod, PodSecurityContext, SecurityContext};

use crate::ports::{ContainerSpec, Seccomp, User, UserIds};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    Root { pod: String, container: String },
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root (pod: \"{pod}\", container: {container})"
    )]
    NotNumeric { user: String, pod: String, container: String },
    #[error("localhostProfile must be set if seccompProfile type is Localhost.")]
    NoProfile,
}

fn contexts<'a>(
    pod: &'a Pod,
    container: &'a Container,
) -> (Option<&'a PodSecurityContext>, Option<&'a SecurityContext>) {
    (pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()), container.security_context.as_ref())
}

/// The user to look up in the container's root: `uid[:gid]` where the spec says so, else the image's.
pub fn user(pod: &Pod, container: &Container, image_user: &str) -> Result<String, SecurityError> {
    let (of_pod, own) = contexts(pod, container);
    let uid = own.and_then(|c| c.run_as_user).or(of_pod.and_then(|c| c.run_as_user));
    let gid = own.and_then(|c| c.run_as_group).or(of_pod.and_then(|c| c.run_as_group));
    let non_root = own.and_then(|c| c.run_as_non_root).or(of_pod.and_then(|c| c.run_as_non_root)) == Some(true);
    let (image_uid, image_gid) = image_user.split_once(':').unwrap_or((image_user, ""));
    let name = match uid {
        Some(uid) => uid.to_string(),
        None if image_uid.is_empty() => "0".to_owned(),
        None => image_uid.to_owned(),
    };
    if non_root {
        let (pod, container) = (crate::machine::pod_words(pod), container.name.clone());
        match name.parse::<u32>() {
            Ok(0) => return Err(SecurityError::Root { pod, container }),
            Err(_) => return Err(SecurityError::NotNumeric { user: name, pod, container }),
            Ok(_) => {}
        }
    }
    Ok(match gid {
        Some(gid) => format!("{name}:{gid}"),
        None if uid.is_none() && !image_gid.is_empty() => format!("{name}:{image_gid}"),
        None => name,
    })
}

/// Fills in everything of `spec` that the security contexts decide.
pub fn apply(pod: &Pod, container: &Container, ids: &UserIds, spec: &mut ContainerSpec) -> Result<(), SecurityError> {
    let (of_pod, own) = contexts(pod, container);
    spec.user = User { uid: ids.uid, gid: ids.gid, additional_gids: groups(of_pod, ids) };
    spec.privileged = own.and_then(|c| c.privileged) == Some(true);
    if let Some(capabilities) = own.and_then(|c| c.capabilities.as_ref()) {
        spec.capabilities_add = capabilities.add.clone().unwrap_or_default();
        spec.capabilities_drop = capabilities.drop.clone().unwrap_or_default();
    }
    spec.read_only_rootfs = own.and_then(|c| c.read_only_root_filesystem) == Some(true);
    spec.no_new_privileges = own.and_then(|c| c.allow_privilege_escalation) == Some(false);
    spec.unmasked_proc = own.and_then(|c| c.proc_mount.as_deref()) == Some("Unmasked");
    let profile = own.and_then(|c| c.seccomp_profile.as_ref()).or(of_pod.and_then(|c| c.seccomp_profile.as_ref()));
    spec.seccomp = match profile.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref())) {
        _ if spec.privileged => Seccomp::Unconfined,
        Some(("Localhost", None | Some(""))) => return Err(SecurityError::NoProfile),
        Some(("Localhost", Some(name))) => Seccomp::Localhost(name.to_owned()),
        Some(("Unconfined", _)) => Seccomp::Unconfined,
        _ => Seccomp::RuntimeDefault,
    };
    Ok(())
}

/// The first group is among them, as with other runtimes: else a process that changes that one could leave it, and with
/// it what is denied to the group.
fn groups(of_pod: Option<&PodSecurityContext>, ids: &UserIds) -> Vec<u32> {
    let strict = of_pod.and_then(|c| c.supplemental_groups_policy.as_deref()) == Some("Strict");
    let of_image: &[u32] = if strict { &[] } else { &ids.additional_gids };
    let mut groups = [&[ids.gid], of_image].concat();
    let asked = of_pod.into_iter().flat_map(|c| c.supplemental_groups.iter().flatten().chain(&c.fs_group));
    groups.extend(asked.filter_map(|gid| u32::try_from(*gid).ok()));
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(pod_context: serde_json::Value, own: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {
            "securityContext": pod_context, "containers": [{"name": "c", "securityContext": own}]}}))
        .unwrap()
    }

    fn user_of(pod: &Pod, image: &str) -> Result<String, SecurityError> {
        user(pod, &pod.spec.as_ref().unwrap().containers[0], image)
    }

    #[test]
    fn the_container_decides_before_the_pod_and_the_pod_before_the_image() {
        assert_eq!(user_of(&pod(json!({}), json!({})), "").unwrap(), "0");
        assert_eq!(user_of(&pod(json!({}), json!({})), "app:web").unwrap(), "app:web");
        assert_eq!(user_of(&pod(json!({"runAsUser": 5}), json!({})), "app:web").unwrap(), "5");
        let both = pod(json!({"runAsUser": 5, "runAsGroup": 6}), json!({"runAsUser": 7}));
        assert_eq!(user_of(&both, "").unwrap(), "7:6");
    }

    #[test]
    fn a_root_image_is_refused_where_root_is() {
        let pod = pod(json!({"runAsNonRoot": true}), json!({}));
        let text = "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)";
        assert_eq!(user_of(&pod, "").unwrap_err().to_string(), text);
        assert!(matches!(user_of(&pod, "app"), Err(SecurityError::NotNumeric { .. })));
        assert_eq!(user_of(&pod, "1000").unwrap(), "1000");
    }

    #[test]
    fn groups_add_up() {
        let pod = pod(json!({"fsGroup": 9, "supplementalGroups": [3, 4]}), json!({}));
        let ids = UserIds { gid: 7, additional_gids: vec![4, 10], ..UserIds::default() };
        let of = |pod: &Pod| {
            let mut spec = ContainerSpec::default();
            apply(pod, &pod.spec.as_ref().unwrap().containers[0], &ids, &mut spec).unwrap();
            spec.user.additional_gids
        };
        assert_eq!(of(&pod), [3, 4, 7, 9, 10]);
        let strict = self::pod(json!({"supplementalGroups": [3], "supplementalGroupsPolicy": "Strict"}), json!({}));
        assert_eq!(of(&strict), [3, 7], "the image has no say");
    }
}
