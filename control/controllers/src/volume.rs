//! PersistentVolumes and claims on them: bound to each other, made, released, and kept while they are used.
//!
//! In reading order: [`claim`] one claim's way to its volume, [`provision`] volumes of class `local-path`, [`persistent`]
//! one volume's way to its end, [`protection`] what may not be deleted yet, [`class`] the class that is there from the
//! start.
//!
//! A volume is bound before its claim is: each write says the version it was decided on, so two claims never get one
//! volume.

use control_api::resource::{NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES};
use control_api::view::core::{PersistentVolume, PersistentVolumeClaim};
use control_client::volume::class as class_of;
use control_client::{Key, Resource};

use crate::action::Action;
use crate::controller::{Change, Controller, Input};
use crate::error::Error;
use crate::world::{World, view};

mod claim;
pub mod class;
mod persistent;
mod protection;
mod provision;

static OUTPUTS: [&Resource; 2] = [&PERSISTENT_VOLUMES, &PERSISTENT_VOLUME_CLAIMS];

pub struct VolumeController;

impl Controller for VolumeController {
    fn name(&self) -> &'static str {
        "persistentvolume-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input { resource: &PERSISTENT_VOLUME_CLAIMS, keys: claim_and_volume },
            Input { resource: &PERSISTENT_VOLUMES, keys: volume_and_claims },
            Input { resource: &STORAGE_CLASSES, keys: claims_of_class },
            Input { resource: &PODS, keys: protection::claims_of_pod },
            Input { resource: &NODES, keys: volumes_of_lost_node },
        ]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        if *key.resource == PERSISTENT_VOLUMES {
            persistent::reconcile(world, &object)
        } else {
            claim::reconcile(world, &object)
        }
    }
}

/// The claim, and the volume it names, which may be free from now on.
fn claim_and_volume(world: &World, change: &Change<'_>) -> Vec<Key> {
    let mut keys = vec![change.object.key.clone()];
    let claim: Option<PersistentVolumeClaim> = view(change.object).ok();
    let name = claim.as_ref().and_then(control_client::volume::volume_name);
    match name {
        Some(name) => keys.push(Key::new(&PERSISTENT_VOLUMES, "", name)),
        // It may have been chosen for a volume and be gone before it knew.
        None if change.deleted => {
            keys.extend(world.list(&PERSISTENT_VOLUMES, None).iter().map(|volume| volume.key.clone()));
        }
        None => {}
    }
    keys
}

/// The volume, and its claim or, while it has none, those that wait for one of its class.
fn volume_and_claims(world: &World, change: &Change<'_>) -> Vec<Key> {
    let mut keys = vec![change.object.key.clone()];
    let Ok(volume) = view::<PersistentVolume>(change.object) else { return keys };
    let spec = volume.spec.unwrap_or_default();
    match spec.claim_ref {
        Some(owner) => {
            let (namespace, name) = (owner.namespace.unwrap_or_default(), owner.name.unwrap_or_default());
            keys.push(Key::new(&PERSISTENT_VOLUME_CLAIMS, &namespace, &name));
        }
        None if !change.deleted => keys.extend(waiting(world, spec.storage_class_name.as_deref().unwrap_or_default())),
        None => {}
    }
    keys
}

fn claims_of_class(world: &World, change: &Change<'_>) -> Vec<Key> {
    if change.deleted { Vec::new() } else { waiting(world, &change.object.key.name) }
}

/// Unbound claims of a class.
fn waiting(world: &World, class: &str) -> Vec<Key> {
    let claims = world.list(&PERSISTENT_VOLUME_CLAIMS, None);
    let waits = |object: &std::sync::Arc<control_client::Object>| {
        let claim: Option<PersistentVolumeClaim> = view(object).ok();
        claim.is_some_and(|claim| class_of(&claim) == class && !control_client::volume::is_bound(&claim))
    };
    claims.iter().filter(|object| waits(object)).map(|object| object.key.clone()).collect()
}

/// With its node, nobody is left who could remove a volume's data.
fn volumes_of_lost_node(world: &World, change: &Change<'_>) -> Vec<Key> {
    if !change.deleted {
        return Vec::new();
    }
    let volumes = world.list(&PERSISTENT_VOLUMES, None);
    let leaving = volumes.iter().filter(|volume| volume.meta.deletion_timestamp.is_some());
    leaving.map(|volume| volume.key.clone()).collect()
}

/// The object's finalizers without one, as a patch that holds only where nobody changed them meanwhile.
fn without_finalizer(object: &control_client::Object, finalizer: &str) -> Action {
    let rest: Vec<&String> = object.meta.finalizers.iter().filter(|name| *name != finalizer).collect();
    let metadata = serde_json::json!({"resourceVersion": object.revision.to_string(), "finalizers": rest});
    Action::merge(&object.key, serde_json::json!({"metadata": metadata}))
}

fn has_finalizer(object: &control_client::Object, finalizer: &str) -> bool {
    object.meta.finalizers.iter().any(|name| name == finalizer)
}

/// Whether a class of that mode leaves the choice of the node to the scheduler.
fn waits_for_pod(world: &World, class: &str) -> bool {
    provision::class(world, class)
        .is_some_and(|class| class.volume_binding_mode.as_deref() == Some(control_client::volume::WAIT))
}
