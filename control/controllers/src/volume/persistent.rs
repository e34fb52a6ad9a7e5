//! One volume's way: available, bound, released, and gone or kept.

use std::sync::Arc;

use control_api::local_path;
use control_api::resource::{NODES, PERSISTENT_VOLUME_CLAIMS};
use control_api::view::core::{PersistentVolume, PersistentVolumeClaim};
use control_client::{About, DeleteOptions, EventType, Key, Object, Preconditions};
use serde_json::{Value, json};

use super::{has_finalizer, protection, without_finalizer};
use crate::action::Action;
use crate::error::Error;
use crate::world::{World, view};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Available,
    Bound,
    Released,
    Failed,
}

pub(super) fn reconcile(world: &World, object: &Arc<Object>) -> Result<Vec<Action>, Error> {
    let volume: PersistentVolume = view(object)?;
    let raw: Value = view(object)?;
    let deletes = raw["spec"]["persistentVolumeReclaimPolicy"] == "Delete";
    let mut phase = phase(world, object, &volume)?;
    let mut actions = Vec::new();
    if phase == Some(Phase::Released) && deletes && !local_path::is_ours(&raw) {
        phase = Some(Phase::Failed);
    }
    if let Some(phase) = phase.filter(|phase| raw["status"]["phase"] != format!("{phase:?}")) {
        let mut status = json!({
            "phase": format!("{phase:?}"), "reason": Value::Null, "message": Value::Null,
            "lastPhaseTransitionTime": control_client::recorder::seconds(world.now()),
        });
        if phase == Phase::Failed {
            let message = "no deletable volume plugin matched";
            (status["reason"], status["message"]) = (json!("VolumeFailedDelete"), json!(message));
            actions.push(Action::Event {
                about: About::from(&**object),
                kind: EventType::Warning,
                reason: "VolumeFailedDelete",
                message: message.to_owned(),
            });
        }
        actions.push(Action::UpdateStatus { key: object.key.clone(), status });
    }
    let used = matches!(phase, Some(Phase::Bound) | None);
    if object.meta.deletion_timestamp.is_none() {
        if phase == Some(Phase::Released) && deletes {
            let preconditions = Preconditions { uid: Some(object.meta.uid.clone()), ..Preconditions::default() };
            let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
            actions.push(Action::Delete { key: object.key.clone(), options, announce: None });
        }
    } else if has_finalizer(object, protection::VOLUME) {
        // After the status, whose write changes the version that the finalizers are decided on: the next look does it.
        if !used && actions.is_empty() {
            actions.push(without_finalizer(object, protection::VOLUME));
        }
    } else if has_finalizer(object, local_path::FINALIZER) && (!deletes || !has_node(world, &raw)) {
        actions.push(without_finalizer(object, local_path::FINALIZER));
    }
    Ok(actions)
}

/// None while the claim does not know of its volume yet.
fn phase(world: &World, object: &Object, volume: &PersistentVolume) -> Result<Option<Phase>, Error> {
    let Some(owner) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else {
        return Ok(Some(Phase::Available));
    };
    let Some(uid) = owner.uid.as_deref().filter(|uid| !uid.is_empty()) else { return Ok(Some(Phase::Available)) };
    let (namespace, name) = (owner.namespace.as_deref().unwrap_or_default(), owner.name.as_deref().unwrap_or_default());
    let found = world.get(&Key::new(&PERSISTENT_VOLUME_CLAIMS, namespace, name));
    let Some(found) = found.filter(|claim| claim.meta.uid == uid) else { return Ok(Some(Phase::Released)) };
    let claim: PersistentVolumeClaim = view(&found)?;
    Ok(match control_client::volume::volume_name(&claim) {
        None => None,
        Some(name) if name == &*object.key.name => Some(Phase::Bound),
        // It has another volume: this one is left over.
        Some(_) => Some(Phase::Released),
    })
}

/// Whether a node is left that could remove the data.
fn has_node(world: &World, volume: &Value) -> bool {
    let Some(hostname) = local_path::hostname(volume) else { return false };
    let carries =
        |node: &Arc<Object>| node.meta.labels.get(local_path::HOSTNAME).is_some_and(|found| found == hostname);
    world.get(&Key::new(&NODES, "", hostname)).is_some() || world.list(&NODES, None).iter().any(carries)
}
