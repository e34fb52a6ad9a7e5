//! What Kubernetes' admission plugins decide about claims: DefaultStorageClass and PersistentVolumeClaimResize.

use control_api::resource::{PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES};
use control_api::{Quantity, Status};
use control_store::{Key, Page, Store};
use serde_json::{Value, json};

use crate::negotiate::parse;

const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// A claim that names no class gets the default one; of several the newest. An empty name is a name: of no class.
pub fn default_class(store: &dyn Store, claim: &mut Value) {
    let named =
        claim["spec"]["storageClassName"].is_string() || claim["metadata"]["annotations"][OLD_CLASS].is_string();
    if named || !claim["spec"].is_object() {
        return;
    }
    let classes = store.list(&STORAGE_CLASSES, None, &Page::default()).items;
    let classes = classes.iter().filter_map(|class| parse(class).ok());
    let default = |class: &Value| DEFAULT_CLASS.iter().any(|key| class["metadata"]["annotations"][key] == "true");
    let text = |class: &Value, field: &str| class["metadata"][field].as_str().unwrap_or_default().to_owned();
    // Of two of the same second the first by name.
    let age = |class: &Value| (text(class, "creationTimestamp"), std::cmp::Reverse(text(class, "name")));
    if let Some(class) = classes.filter(default).max_by_key(age) {
        claim["spec"]["storageClassName"] = json!(text(&class, "name"));
    }
}

/// A claim grows only where its class can make volumes grow.
pub fn may_grow(store: &dyn Store, name: &str, new: &Value, old: &Value) -> Result<(), Status> {
    let size = |claim: &Value| {
        let text = claim["spec"]["resources"]["requests"]["storage"].as_str();
        text.and_then(|text| Quantity::parse(text).ok())
    };
    if size(new) <= size(old) {
        return Ok(());
    }
    let class = old["spec"]["storageClassName"].as_str().unwrap_or_default();
    let class = store.get(&Key::new(&STORAGE_CLASSES, "", class)).and_then(|class| parse(&class).ok());
    if class.is_some_and(|class| class["allowVolumeExpansion"] == true) {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    Err(Status::forbidden(&PERSISTENT_VOLUME_CLAIMS, name, why))
}
