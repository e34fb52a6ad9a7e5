//! Volumes of class `local-path`, made for a claim on the node that the scheduler chose.

use control_api::local_path::{self, HOSTNAME, PROVISIONED_BY, PROVISIONER};
use control_api::resource::{NODES, PERSISTENT_VOLUMES, STORAGE_CLASSES};
use control_api::view::core::PersistentVolumeClaim;
use control_api::view::storage::StorageClass;
use control_client::volume::{NO_PROVISIONER, SELECTED_NODE, WAIT, annotation};
use control_client::{About, EventType, Key, Object};
use serde_json::json;

use super::protection;
use crate::action::Action;
use crate::world::{World, view};

/// A folder of one node is written from that node only.
const MODES: [&str; 2] = ["ReadWriteOnce", "ReadWriteOncePod"];

pub(super) fn class(world: &World, name: &str) -> Option<StorageClass> {
    if name.is_empty() {
        return None;
    }
    world.get(&Key::new(&STORAGE_CLASSES, "", name)).and_then(|object| view(&object).ok())
}

/// No volume suits the claim: what its class says about that.
pub(super) fn provision(world: &World, object: &Object, claim: &PersistentVolumeClaim) -> Vec<Action> {
    let name = control_client::volume::class(claim);
    let tell =
        |kind, reason, message: String| vec![Action::Event { about: About::from(object), kind, reason, message }];
    if name.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return tell(EventType::Normal, "FailedBinding", message.to_owned());
    }
    let Some(class) = class(world, name) else {
        let message = format!("storageclass.storage.k8s.io \"{name}\" not found");
        return tell(EventType::Warning, "ProvisioningFailed", message);
    };
    match class.provisioner.as_str() {
        PROVISIONER => match make(world, object, claim, &class) {
            Ok(actions) => actions,
            Err(why) => {
                let message = format!("failed to provision volume with StorageClass \"{name}\": {why}");
                tell(EventType::Warning, "ProvisioningFailed", message)
            }
        },
        NO_PROVISIONER => {
            let message = "no persistent volumes available for this claim, and its class makes none";
            tell(EventType::Normal, "FailedBinding", message.to_owned())
        }
        other => {
            let message = format!(
                "Waiting for a volume to be created either by the external provisioner '{other}' or manually by the \
                 system administrator. If volume creation is delayed, please verify that the provisioner is running \
                 and correctly registered."
            );
            tell(EventType::Normal, "ExternalProvisioning", message)
        }
    }
}

fn make(
    world: &World,
    object: &Object,
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
) -> Result<Vec<Action>, String> {
    let spec = claim.spec.clone().unwrap_or_default();
    let modes = spec.access_modes.clone().unwrap_or_default();
    if let Some(mode) = modes.iter().find(|mode| !MODES.contains(&mode.as_str())) {
        return Err(format!(
            "{PROVISIONER} volumes lie on one node and cannot be {mode}; supported: {}",
            MODES.join(", ")
        ));
    }
    if spec.selector.is_some() {
        return Err("claim.spec.selector is not supported by this provisioner".to_owned());
    }
    let selected = annotation(claim, SELECTED_NODE);
    let Some(selected) = selected.filter(|_| class.volume_binding_mode.as_deref() == Some(WAIT)) else {
        return Err(format!("volumeBindingMode must be {WAIT}: the volume lies on the node of its first pod"));
    };
    let node = world.get(&Key::new(&NODES, "", selected)).ok_or_else(|| format!("node \"{selected}\" not found"))?;
    let hostname = node.meta.labels.get(HOSTNAME).cloned().unwrap_or_else(|| selected.to_owned());
    let size = spec.resources.and_then(|resources| resources.requests?.get("storage").cloned());
    let name = format!("pvc-{}", object.meta.uid);
    let folder = format!("{name}_{}_{}", object.key.namespace, object.key.name);
    let expression = json!({"key": HOSTNAME, "operator": "In", "values": [hostname]});
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": name, "annotations": {PROVISIONED_BY: PROVISIONER},
            "finalizers": [protection::VOLUME, local_path::FINALIZER],
        },
        "spec": {
            "capacity": {"storage": size}, "accessModes": modes, "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": control_client::volume::class(claim), "claimRef": reference(object),
            "hostPath": {"path": format!("{}/{folder}", local_path::ROOT), "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        },
    });
    let event =
        |reason, message| Action::Event { about: About::from(object), kind: EventType::Normal, reason, message };
    let key = &object.key;
    let provisioning = format!("Provisioning a volume for claim \"{}/{}\" on node {selected}", key.namespace, key.name);
    let done = format!("Successfully provisioned volume {name}");
    Ok(vec![
        event("Provisioning", provisioning),
        Action::Create { resource: &PERSISTENT_VOLUMES, namespace: String::new(), object: volume, announce: None },
        event("ProvisioningSucceeded", done),
    ])
}

/// What makes a volume the claim's.
pub(super) fn reference(claim: &Object) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": &*claim.key.namespace,
        "name": &*claim.key.name, "uid": claim.meta.uid, "resourceVersion": claim.revision.to_string(),
    })
}
