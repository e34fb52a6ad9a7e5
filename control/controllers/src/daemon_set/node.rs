//! Whether a node is to have a daemon's pod, and how the pod is tied to the node.

use control_api::view::core::{Node, PodSpec, Taint, Toleration};
use control_client::Object;
use control_client::placement::{any_term_matches, tolerates};
use serde_json::{Value, json};

/// Taints that no daemon minds.
const NO_EXECUTE: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const NO_SCHEDULE: [&str; 4] = [
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unschedulable",
];
/// One that brings the network itself does not wait for it either.
const NO_NETWORK: &str = "node.kubernetes.io/network-unavailable";

/// What a node is to a DaemonSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is to have a pod.
    Runs,
    /// It gets none, but one that is there may stay.
    Keeps,
    Never,
}

/// A node as far as DaemonSets look at it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub name: String,
    pub fit: Fit,
}

pub(super) fn place(object: &Object, node: &Node, template: &PodSpec, tolerations: &[Toleration]) -> Place {
    let name = object.key.name.to_string();
    let fit = fit(object, node, template, tolerations);
    Place { name, fit }
}

fn fit(object: &Object, node: &Node, template: &PodSpec, tolerations: &[Toleration]) -> Fit {
    let (name, labels) = (&*object.key.name, &object.meta.labels);
    if template.node_name.as_deref().is_some_and(|wanted| !wanted.is_empty() && wanted != name) {
        return Fit::Never;
    }
    let selected = template.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let affinity = template.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    if !selected || required.is_some_and(|wanted| !any_term_matches(&wanted.node_selector_terms, name, labels)) {
        return Fit::Never;
    }
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let minds = |taint: &&Taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint));
    let hard = taints.iter().filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    let mut minded = hard.filter(minds).peekable();
    match (minded.peek().is_none(), minded.any(|taint| taint.effect == "NoExecute")) {
        (true, _) => Fit::Runs,
        (false, false) => Fit::Keeps,
        (false, true) => Fit::Never,
    }
}

/// The template's tolerations and those of every daemon.
pub(super) fn tolerations(template: &PodSpec) -> Vec<Toleration> {
    let mut all = template.tolerations.clone().unwrap_or_default();
    let mut add = |key: &str, effect: &str| {
        let wanted = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        let same = |one: &&mut Toleration| {
            one.key == wanted.key && one.effect == wanted.effect && one.operator == wanted.operator
        };
        match all.iter_mut().find(same) {
            Some(known) => *known = wanted,
            None => all.push(wanted),
        }
    };
    NO_EXECUTE.into_iter().for_each(|key| add(key, "NoExecute"));
    NO_SCHEDULE.into_iter().for_each(|key| add(key, "NoSchedule"));
    if template.host_network == Some(true) {
        add(NO_NETWORK, "NoSchedule");
    }
    all
}

/// Ties a pod's spec to one node: the scheduler still says when.
pub(super) fn tie(spec: &mut Value, node: &str, tolerations: &[Toleration]) {
    let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
    spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
    spec["tolerations"] = json!(tolerations);
}

/// The node that a pod is on or is tied to.
pub(super) fn target(spec: &PodSpec) -> Option<String> {
    if let Some(node) = spec.node_name.as_ref().filter(|node| !node.is_empty()) {
        return Some(node.clone());
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let mut fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let field = fields.find(|field| field.key == "metadata.name" && field.operator == "In")?;
    match field.values.as_deref() {
        Some([node]) => Some(node.clone()),
        _ => None,
    }
}
