//! Which PersistentVolume suits a claim, in Kubernetes' terms, and what annotations say of both.

use std::collections::BTreeMap;

use control_api::view;
use control_api::view::core::{PersistentVolume, PersistentVolumeClaim};
use control_api::{LabelSelector, Quantity};
use serde_json::json;

use crate::placement::any_term_matches;

/// On a claim: the scheduler's choice, by which volumes are made.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim: it is bound, for good.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On both: no user asked for this very pair.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a StorageClass: claims that name none get it.
pub const IS_DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// The binding mode that waits for the scheduler.
pub const WAIT: &str = "WaitForFirstConsumer";
/// The provisioner of classes whose volumes somebody makes by hand.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// The class a claim asks for; empty for none.
pub fn class(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default()
}

pub fn annotation<'a>(claim: &'a PersistentVolumeClaim, name: &str) -> Option<&'a str> {
    claim.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// Bound for good.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    annotation(claim, BIND_COMPLETED).is_some() && volume_name(claim).is_some()
}

pub fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// Bytes that a claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> i128 {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests.and_then(|amounts| amounts.get("storage")).map_or(0, units)
}

pub fn capacity(volume: &PersistentVolume) -> i128 {
    let amounts = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
    amounts.and_then(|amounts| amounts.get("storage")).map_or(0, units)
}

fn units(amount: &view::Quantity) -> i128 {
    Quantity::parse(&amount.0).map_or(0, |amount| amount.units())
}

/// Whether class, size, modes and selector of the claim hold for the volume, whoever may own it.
pub fn suits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(has), Some(wants)) = (&volume.spec, &claim.spec) else { return false };
    let selector = wants.selector.as_ref().map(|selector| LabelSelector::from_value(&json!(selector)));
    let labels = volume.metadata.labels.clone().unwrap_or_default();
    let selected = selector.is_none_or(|selector| selector.is_ok_and(|selector| selector.matches(&labels)));
    selected && has.storage_class_name.as_deref().unwrap_or_default() == class(claim) && is_able(volume, claim)
}

/// Whether size and modes alone hold, which is all that a claim asks of a volume that it names.
pub fn is_able(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(has), Some(wants)) = (&volume.spec, &claim.spec) else { return false };
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".to_owned());
    let offered = has.access_modes.as_deref().unwrap_or_default();
    capacity(volume) >= requested(claim)
        && mode(&has.volume_mode) == mode(&wants.volume_mode)
        && wants.access_modes.iter().flatten().all(|mode| offered.contains(mode))
}

/// Whether nobody has the volume, or a user has set it aside for this claim.
pub fn is_free_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    if volume.metadata.deletion_timestamp.is_some() {
        return false;
    }
    match volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) {
        None => true,
        Some(owner) => {
            owner.name == claim.metadata.name
                && owner.namespace == claim.metadata.namespace
                && owner.uid.as_deref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref())
        }
    }
}

/// Whether the volume can be mounted on the node.
pub fn reaches(volume: &PersistentVolume, node: &str, labels: &BTreeMap<String, String>) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    affinity.is_none_or(|wanted| any_term_matches(&wanted.node_selector_terms, node, labels))
}
