//! A pod's conditions on its node: `nodeSelector` and node affinity.

use control_client::placement::{any_term_matches, term_matches};

use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// `nodeSelector` and required affinity both hold.
pub fn matches(pod: &PodInfo, node: &NodeInfo) -> bool {
    pod.node_selector.iter().all(|(name, value)| node.labels.get(name) == Some(value))
        && pod.required.as_ref().is_none_or(|terms| any_term_matches(terms, &node.name, &node.labels))
}

/// The sum of the weights of preferred terms that hold.
pub fn preference(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let holds = |term| term_matches(term, &node.name, &node.labels);
    let held = pod.preferred.iter().filter(|preferred| holds(&preferred.preference));
    held.map(|preferred| i64::from(preferred.weight)).sum()
}
