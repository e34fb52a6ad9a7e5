//! The decision: filter, then score.

use std::collections::BTreeMap;

use crate::filter::{self, Refusal};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::score::{self, Marks};

/// No node will do; the message is what `kubectl describe pod` shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unschedulable {
    pub message: String,
}

/// The position of the best node. Of equals, the one with the fewest pods, then the first.
pub fn pick(pod: &PodInfo, nodes: &[NodeInfo]) -> Result<usize, Unschedulable> {
    pick_where(pod, nodes, |_| None)
}

/// The same among nodes that `also`, asked last, does not refuse.
pub fn pick_where(
    pod: &PodInfo,
    nodes: &[NodeInfo],
    also: impl Fn(&NodeInfo) -> Option<Refusal>,
) -> Result<usize, Unschedulable> {
    let mut refused: BTreeMap<Refusal, usize> = BTreeMap::new();
    let mut candidates: Vec<(usize, Marks)> = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let mut refusals = filter::refusals(pod, node);
        if refusals.is_empty() {
            refusals.extend(also(node));
        }
        if refusals.is_empty() {
            candidates.push((at, score::marks(pod, node)));
        }
        for refusal in refusals {
            *refused.entry(refusal).or_default() += 1;
        }
    }
    let preference_max = candidates.iter().map(|(_, marks)| marks.preference).max().unwrap_or(0);
    let disliked_max = candidates.iter().map(|(_, marks)| marks.disliked).max().unwrap_or(0);
    let best = candidates.iter().max_by_key(|(at, marks)| {
        let fewest_pods = std::cmp::Reverse(nodes[*at].used.pods);
        (score::total(*marks, preference_max, disliked_max), fewest_pods, std::cmp::Reverse(*at))
    });
    best.map(|(at, _)| *at).ok_or_else(|| unschedulable(nodes.len(), &refused))
}

/// The pod can go nowhere, whatever the nodes are like.
pub fn nowhere(nodes: usize, why: &str) -> Unschedulable {
    Unschedulable { message: format!("0/{nodes} nodes are available: {why}.") }
}

fn unschedulable(nodes: usize, refused: &BTreeMap<Refusal, usize>) -> Unschedulable {
    if nodes == 0 {
        return Unschedulable { message: "no nodes available to schedule pods".to_owned() };
    }
    let mut reasons: Vec<String> = refused.iter().map(|(refusal, count)| format!("{count} {refusal}")).collect();
    reasons.sort();
    Unschedulable { message: format!("0/{nodes} nodes are available: {}.", reasons.join(", ")) }
}
