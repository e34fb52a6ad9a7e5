//! StorageClass `local-path`: made once in a cluster's life. Who changes or deletes it has said what they want.

use control_api::local_path::{CLASS, PROVISIONER};
use control_api::resource::{NAMESPACES, STORAGE_CLASSES};
use control_client::volume::{IS_DEFAULT_CLASS, WAIT};
use control_client::{Key, Resource};
use serde_json::{Value, json};

use crate::action::Action;
use crate::controller::{Change, Controller, Input};
use crate::error::Error;
use crate::world::{World, view};

/// The namespace that always exists remembers that the class was made.
const NAMESPACE: &str = "kube-system";
const MADE: &str = "bramble.dev/local-path-class-made";

static OUTPUTS: [&Resource; 2] = [&STORAGE_CLASSES, &NAMESPACES];

pub struct StorageClassController;

impl Controller for StorageClassController {
    fn name(&self) -> &'static str {
        "local-path-class"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input { resource: &NAMESPACES, keys: the_namespace }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let Some(namespace) = world.get(key) else { return Ok(Vec::new()) };
        let raw: Value = view(&namespace)?;
        if raw["metadata"]["annotations"][MADE] == "true" {
            return Ok(Vec::new());
        }
        let object = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": CLASS, "annotations": {IS_DEFAULT_CLASS: "true"}},
            "provisioner": PROVISIONER, "volumeBindingMode": WAIT, "reclaimPolicy": "Delete",
        });
        let namespace = String::new();
        Ok(vec![
            Action::Create { resource: &STORAGE_CLASSES, namespace, object, announce: None },
            Action::merge(key, json!({"metadata": {"annotations": {MADE: "true"}}})),
        ])
    }
}

fn the_namespace(_: &World, change: &Change<'_>) -> Vec<Key> {
    if &*change.object.key.name == NAMESPACE { vec![change.object.key.clone()] } else { Vec::new() }
}
