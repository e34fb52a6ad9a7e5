//! A node's conditions on its pods.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::node::NodeInfo;
use crate::pod::PodInfo;

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The first taint that keeps the pod away.
pub fn untolerated<'a>(pod: &PodInfo, node: &'a NodeInfo) -> Option<&'a Taint> {
    let keeps_away = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    node.taints.iter().filter(keeps_away).find(|taint| !is_tolerated(pod, taint))
}

/// Taints that would rather not have the pod.
pub fn disliked(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let dislikes = |taint: &&Taint| taint.effect == "PreferNoSchedule" && !is_tolerated(pod, taint);
    i64::try_from(node.taints.iter().filter(dislikes).count()).unwrap_or(i64::MAX)
}

/// A pod may go to a cordoned node only where it tolerates the taint that goes with it.
pub fn is_cordoned_for(pod: &PodInfo, node: &NodeInfo) -> bool {
    let taint = || Taint { key: UNSCHEDULABLE.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    node.unschedulable && !is_tolerated(pod, &taint())
}

fn is_tolerated(pod: &PodInfo, taint: &Taint) -> bool {
    pod.tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or("");
    let key = toleration.key.as_deref().unwrap_or("");
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        _ => !key.is_empty() && toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or(""),
    }
}
