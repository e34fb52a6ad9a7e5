//! One claim's way to its volume.

use std::sync::Arc;

use control_api::resource::{NODES, PERSISTENT_VOLUMES};
use control_api::view::core::{PersistentVolume, PersistentVolumeClaim};
use control_client::volume::{
    self, BIND_COMPLETED, BOUND_BY_CONTROLLER, SELECTED_NODE, annotation, is_able, is_free_for, reaches, suits,
};
use control_client::{About, EventType, Key, Object};
use serde_json::{Value, json};

use super::provision::{provision, reference};
use super::{has_finalizer, protection, waits_for_pod, without_finalizer};
use crate::action::Action;
use crate::error::Error;
use crate::world::{World, view};

/// A volume as this claim sees it.
struct Candidate {
    object: Arc<Object>,
    volume: PersistentVolume,
}

impl Candidate {
    fn owner_uid(&self) -> Option<&str> {
        self.volume.spec.as_ref()?.claim_ref.as_ref()?.uid.as_deref().filter(|uid| !uid.is_empty())
    }

    fn is_set_aside(&self) -> bool {
        self.volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some())
    }
}

pub(super) fn reconcile(world: &World, object: &Arc<Object>) -> Result<Vec<Action>, Error> {
    let claim: PersistentVolumeClaim = view(object)?;
    if object.meta.deletion_timestamp.is_some() {
        let free = has_finalizer(object, protection::CLAIM) && !protection::is_used(world, object);
        return Ok(if free { vec![without_finalizer(object, protection::CLAIM)] } else { Vec::new() });
    }
    match volume::volume_name(&claim) {
        Some(name) => named(world, object, &claim, name),
        None => search(world, object, &claim),
    }
}

/// The claim says which volume it wants, or has.
fn named(world: &World, object: &Object, claim: &PersistentVolumeClaim, name: &str) -> Result<Vec<Action>, Error> {
    let bound = volume::is_bound(claim);
    let tell = |kind, reason, message: String| Action::Event { about: About::from(object), kind, reason, message };
    let Some(candidate) = get(world, name)? else {
        if !bound {
            return Ok(Vec::new());
        }
        let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return Ok(lost(object, claim, tell(EventType::Warning, "ClaimLost", message.to_owned())));
    };
    if candidate.owner_uid() == Some(&object.meta.uid) {
        return Ok(complete(object, claim, &candidate));
    }
    if bound {
        let message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return Ok(lost(object, claim, tell(EventType::Warning, "ClaimLost", message.to_owned())));
    }
    if !is_free_for(&candidate.volume, claim) {
        let message = format!("volume \"{name}\" already bound to a different claim.");
        return Ok(vec![tell(EventType::Warning, "FailedBinding", message)]);
    }
    if !is_able(&candidate.volume, claim) {
        let message =
            format!("Cannot bind to requested volume \"{name}\": size, access modes or volume mode do not fit");
        return Ok(vec![tell(EventType::Warning, "VolumeMismatch", message)]);
    }
    Ok(bind(object, claim, &candidate))
}

fn search(world: &World, object: &Object, claim: &PersistentVolumeClaim) -> Result<Vec<Action>, Error> {
    let mut candidates: Vec<Candidate> = Vec::new();
    for found in world.list(&PERSISTENT_VOLUMES, None) {
        let volume: PersistentVolume = view(&found)?;
        if is_free_for(&volume, claim) {
            candidates.push(Candidate { object: found, volume });
        }
    }
    // A volume that is ours already, then one set aside for us, then the smallest that suits.
    if let Some(own) = candidates.iter().find(|one| one.owner_uid() == Some(&object.meta.uid)) {
        return Ok(complete(object, claim, own));
    }
    if let Some(aside) = candidates.iter().find(|one| one.is_set_aside() && is_able(&one.volume, claim)) {
        return Ok(bind(object, claim, aside));
    }
    let waits = waits_for_pod(world, volume::class(claim));
    let selected = annotation(claim, SELECTED_NODE);
    if waits && selected.is_none() {
        let message = "waiting for first consumer to be created before binding".to_owned();
        let about = About::from(object);
        let event = Action::Event { about, kind: EventType::Normal, reason: "WaitForFirstConsumer", message };
        return Ok(vec![event]);
    }
    let node = selected.and_then(|name| world.get(&Key::new(&NODES, "", name)));
    let in_reach = |volume: &PersistentVolume| {
        !waits || node.as_ref().is_some_and(|node| reaches(volume, &node.key.name, &node.meta.labels))
    };
    candidates.retain(|one| !one.is_set_aside() && suits(&one.volume, claim) && in_reach(&one.volume));
    match candidates.iter().min_by_key(|one| (volume::capacity(&one.volume), one.object.key.clone())) {
        Some(best) => Ok(bind(object, claim, best)),
        None => Ok(provision(world, object, claim)),
    }
}

fn get(world: &World, name: &str) -> Result<Option<Candidate>, Error> {
    let Some(object) = world.get(&Key::new(&PERSISTENT_VOLUMES, "", name)) else { return Ok(None) };
    let volume: PersistentVolume = view(&object)?;
    Ok(Some(Candidate { object, volume }))
}

/// The volume first: from then on nobody else gets it.
fn bind(object: &Object, claim: &PersistentVolumeClaim, candidate: &Candidate) -> Vec<Action> {
    let mut metadata = json!({"resourceVersion": candidate.object.revision.to_string()});
    if !candidate.is_set_aside() {
        metadata["annotations"][BOUND_BY_CONTROLLER] = json!("yes");
    }
    let patch = json!({"metadata": metadata, "spec": {"claimRef": reference(object)}});
    let mut actions = vec![Action::merge(&candidate.object.key, patch)];
    actions.extend(complete(object, claim, candidate));
    actions
}

/// The claim's side of a pair, as far as it is not there yet.
fn complete(object: &Object, claim: &PersistentVolumeClaim, candidate: &Candidate) -> Vec<Action> {
    let mut actions = Vec::new();
    if !volume::is_bound(claim) {
        let mut annotations = json!({BIND_COMPLETED: "yes"});
        if volume::volume_name(claim).is_none() {
            annotations[BOUND_BY_CONTROLLER] = json!("yes");
        }
        let spec = json!({"volumeName": &*candidate.object.key.name});
        actions.push(Action::merge(&object.key, json!({"metadata": {"annotations": annotations}, "spec": spec})));
    }
    let spec = candidate.volume.spec.clone().unwrap_or_default();
    let wanted = json!({"phase": "Bound", "accessModes": spec.access_modes, "capacity": spec.capacity});
    let status = json!(claim.status);
    if ["phase", "accessModes", "capacity"].iter().any(|field| status[*field] != wanted[*field]) {
        actions.push(Action::UpdateStatus { key: object.key.clone(), status: wanted });
    }
    actions
}

fn lost(object: &Object, claim: &PersistentVolumeClaim, event: Action) -> Vec<Action> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase == Some("Lost") {
        return Vec::new();
    }
    let status = json!({"phase": "Lost", "accessModes": Value::Null, "capacity": Value::Null});
    vec![Action::UpdateStatus { key: object.key.clone(), status }, event]
}
