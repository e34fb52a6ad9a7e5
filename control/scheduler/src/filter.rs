//! Whether a pod can go to a node, in the order and words of Kubernetes' filters.

use crate::affinity;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::taint;

/// Why a node is out of the question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    Unschedulable,
    Taint {
        key: String,
        value: String,
    },
    Affinity,
    Ports,
    /// A volume that it mounts cannot be reached from there.
    VolumeElsewhere,
    NoVolumes,
    /// An image is for other platforms only.
    Platform {
        image: String,
        platforms: String,
    },
    /// Nobody could say which platforms an image is for.
    PlatformsUnknown {
        image: String,
        why: String,
    },
    TooManyPods,
    Insufficient(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("node(s) were unschedulable"),
            Self::Taint { key, value } => write!(f, "node(s) had untolerated taint {{{key}: {value}}}"),
            Self::Affinity => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::Ports => f.write_str("node(s) didn't have free ports for the requested pod ports"),
            Self::VolumeElsewhere => f.write_str("node(s) didn't match PersistentVolume's node affinity"),
            Self::NoVolumes => f.write_str("node(s) didn't find available persistent volumes to bind"),
            Self::Platform { image, platforms } => {
                write!(f, "node(s) do not run a platform of image \"{image}\" ({platforms})")
            }
            Self::PlatformsUnknown { image, why } => {
                write!(f, "node(s) may not run image \"{image}\", whose platforms are not known: {why}")
            }
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
        }
    }
}

/// Empty where the pod can go there. The first filter that refuses ends it; only resources give several reasons.
pub fn refusals(pod: &PodInfo, node: &NodeInfo) -> Vec<Refusal> {
    if taint::is_cordoned_for(pod, node) {
        return vec![Refusal::Unschedulable];
    }
    if let Some(taint) = taint::untolerated(pod, node) {
        let value = taint.value.clone().unwrap_or_default();
        return vec![Refusal::Taint { key: taint.key.clone(), value }];
    }
    if !affinity::matches(pod, node) {
        return vec![Refusal::Affinity];
    }
    if node.ports_clash(pod) {
        return vec![Refusal::Ports];
    }
    missing(pod, node)
}

/// A request of zero fits even where a node is over-committed.
fn missing(pod: &PodInfo, node: &NodeInfo) -> Vec<Refusal> {
    let (wanted, has, used) = (&pod.requests, &node.allocatable, &node.used);
    let lacks = |wanted: i64, has: i64, used: i64| wanted > 0 && wanted > has.saturating_sub(used);
    let mut refusals = Vec::new();
    if used.pods + 1 > has.pods {
        refusals.push(Refusal::TooManyPods);
    }
    if lacks(wanted.cpu_milli, has.cpu_milli, used.cpu_milli) {
        refusals.push(Refusal::Insufficient("cpu".to_owned()));
    }
    if lacks(wanted.memory_bytes, has.memory_bytes, used.memory_bytes) {
        refusals.push(Refusal::Insufficient("memory".to_owned()));
    }
    // A node that does not say how much disk it has is taken at its silence.
    let disk = has.ephemeral_storage_bytes;
    if disk > 0 && lacks(wanted.ephemeral_storage_bytes, disk, used.ephemeral_storage_bytes) {
        refusals.push(Refusal::Insufficient("ephemeral-storage".to_owned()));
    }
    for (name, amount) in &wanted.extended {
        let of = |amounts: &std::collections::BTreeMap<String, i64>| amounts.get(name).copied().unwrap_or(0);
        if lacks(*amount, of(&has.extended), of(&used.extended)) {
            refusals.push(Refusal::Insufficient(name.clone()));
        }
    }
    refusals
}
