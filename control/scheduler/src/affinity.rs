//! A pod's conditions on its node: `nodeSelector` and node affinity.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// `nodeSelector` and required affinity both hold.
pub fn matches(pod: &PodInfo, node: &NodeInfo) -> bool {
    pod.node_selector.iter().all(|(name, value)| node.labels.get(name) == Some(value))
        && pod.required.as_ref().is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)))
}

/// The sum of the weights of preferred terms that hold.
pub fn preference(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let held = pod.preferred.iter().filter(|preferred| term_matches(&preferred.preference, node));
    held.map(|preferred| i64::from(preferred.weight)).sum()
}

/// An empty term matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if labels.is_empty() && fields.is_empty() {
        return false;
    }
    labels.iter().all(|found| holds(found, node.labels.get(&found.key).map(String::as_str)))
        && fields.iter().all(|found| holds(found, (found.key == "metadata.name").then_some(node.name.as_str())))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |value: &str| values.iter().any(|found| found == value);
    let compare = |with: fn(i64, i64) -> bool| {
        let (Some(value), [bound]) = (value, values) else { return false };
        matches!((value.parse(), bound.parse()), (Ok(value), Ok(bound)) if with(value, bound))
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(|value, bound| value > bound),
        "Lt" => compare(|value, bound| value < bound),
        _ => false,
    }
}
