//! What a pod takes of the node's disk, and whether that is more than it may. Pure.

use std::collections::BTreeMap;
use std::iter::Sum;

use control_api::quantity::Quantity;
use control_api::view::core::{Container, Pod, PodSpec, Volume};

use crate::resources::most;

/// Bytes as they lie on the disk, and files and folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    pub bytes: u64,
    pub inodes: u64,
}

impl Sum for Taken {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self { bytes: sum.bytes + one.bytes, inodes: sum.inodes + one.inodes })
    }
}

/// One pod's part of the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Storage {
    /// What each container wrote beside its image, and its log.
    pub containers: BTreeMap<String, Taken>,
    /// Volumes that lie on the node's disk and end with the pod.
    pub volumes: BTreeMap<String, Taken>,
}

impl Storage {
    pub fn total(&self) -> Taken {
        self.containers.values().chain(self.volumes.values()).copied().sum()
    }
}

/// Whether the pod may take only so much of the disk.
pub fn is_limited(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.volumes.iter().flatten().any(|volume| size_limit(volume).is_some())
        || spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|one| limit(one).is_some())
}

/// Why the pod has to go, in the kubelet's words, where it takes more than it may.
pub fn over_limit(pod: &Pod, taken: &Storage) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let volumes = spec.volumes.iter().flatten();
    let volume = volumes.filter_map(|volume| Some((&volume.name, size_limit(volume)?)));
    let volume =
        volume.into_iter().find(|(name, limit)| taken.volumes.get(*name).is_some_and(|taken| taken.is_over(limit)));
    if let Some((name, limit)) = volume {
        return Some(format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{limit}\". "));
    }
    if let Some(limit) = pod_limit(spec).filter(|limit| taken.total().is_over(limit)) {
        return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "));
    }
    let containers = spec.containers.iter().filter_map(|one| Some((&one.name, limit(one)?)));
    let over =
        |(name, limit): &(&String, Quantity)| taken.containers.get(*name).is_some_and(|taken| taken.is_over(limit));
    let (name, limit) = containers.into_iter().find(over)?;
    Some(format!("Container {name} exceeded its local ephemeral storage limit \"{limit}\". "))
}

impl Taken {
    fn is_over(&self, limit: &Quantity) -> bool {
        Quantity::from_bytes(i64::try_from(self.bytes).unwrap_or(i64::MAX)) > *limit
    }
}

/// Of an emptyDir on the disk; the kernel keeps one in memory to its size.
fn size_limit(volume: &Volume) -> Option<Quantity> {
    let empty_dir = volume.empty_dir.as_ref().filter(|one| one.medium.as_deref() != Some("Memory"))?;
    let limit = Quantity::parse(&empty_dir.size_limit.as_ref()?.0).ok()?;
    (limit > Quantity::ZERO).then_some(limit)
}

fn limit(container: &Container) -> Option<Quantity> {
    let limit = container.resources.as_ref()?.limits.as_ref()?.get("ephemeral-storage")?;
    Quantity::parse(&limit.0).ok().filter(|limit| *limit > Quantity::ZERO)
}

/// The limits of those containers that have one, as the kubelet adds them up.
fn pod_limit(spec: &PodSpec) -> Option<Quantity> {
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let first = all.clone().find_map(limit)?;
    let bytes = |one: &Container| i64::try_from(limit(one).map_or(0, |limit| limit.units())).ok();
    // Written as the first of them is.
    let more = most(spec, bytes)?.checked_sub(i64::try_from(first.units()).ok()?)?;
    first.checked_add(&Quantity::from_bytes(more))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    fn taken(all: &[(&str, u64)]) -> BTreeMap<String, Taken> {
        all.iter().map(|(name, bytes)| ((*name).to_owned(), Taken { bytes: *bytes, inodes: 1 })).collect()
    }

    #[test]
    fn limits_of_volumes_of_the_pod_and_of_containers_are_looked_at_in_this_order() {
        let limited =
            |name: &str, limit: &str| json!({"name": name, "resources": {"limits": {"ephemeral-storage": limit}}});
        let pod = pod(json!({
            "volumes": [
                {"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}},
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1"}},
            ],
            "containers": [limited("web", "2Mi"), limited("log", "1Mi"), {"name": "free"}],
        }));
        assert!(is_limited(&pod));
        let over = |scratch, web, free| {
            let (containers, volumes) = (taken(&[("web", web), ("free", free)]), taken(&[("scratch", scratch)]));
            over_limit(&pod, &Storage { containers, volumes }).unwrap_or_default()
        };
        assert_eq!(over(1 << 20, 2 << 20, 0), "");
        assert_eq!(over((1 << 20) + 1, 9 << 20, 0), "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". ");
        assert_eq!(
            over(0, 0, 4 << 20),
            "Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. "
        );
        assert_eq!(over(0, (2 << 20) + 1, 0), "Container web exceeded its local ephemeral storage limit \"2Mi\". ");
    }

    #[test]
    fn a_pod_without_limits_is_not_measured() {
        let spec = json!({
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
            "containers": [{"name": "web", "resources": {"limits": {"memory": "1Gi"}}}],
        });
        assert!(!is_limited(&pod(spec)));
    }
}
