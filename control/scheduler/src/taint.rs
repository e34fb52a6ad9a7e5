//! A node's conditions on its pods.

use control_api::view::core::Taint;
use control_client::placement::tolerates;

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
