//! Admission: what is decided about a write by looking at other objects.

pub mod account;
pub mod certificate;
pub mod claim;
pub mod pod;
pub mod volume;

use control_api::resource::{NAMESPACES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS};
use control_api::{Resource, Status};
use control_store::{Key, Store};
use serde_json::Value;

/// Namespaces that cannot be deleted.
const PROTECTED: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Before validation of a create: the namespace must be there and not on its way out; a pod gets its defaults.
pub fn create(
    store: &dyn Store,
    resource: &'static Resource,
    namespace: &str,
    name: &str,
    object: &mut Value,
) -> Result<(), Status> {
    if resource.namespaced() {
        namespace_is_open(store, resource, namespace, name)?;
    }
    if resource == &PODS {
        pod::default(object);
        account::apply(store, namespace, name, object)?;
    }
    if resource == &PERSISTENT_VOLUME_CLAIMS {
        claim::default_class(store, object);
        volume::protect(object, volume::CLAIM);
    }
    if resource == &PERSISTENT_VOLUMES {
        volume::protect(object, volume::VOLUME);
    }
    Ok(())
}

/// After validation of an update.
pub fn update(
    store: &dyn Store,
    resource: &'static Resource,
    name: &str,
    new: &Value,
    old: &Value,
) -> Result<(), Status> {
    if resource == &PERSISTENT_VOLUME_CLAIMS { claim::may_grow(store, name, new, old) } else { Ok(()) }
}

pub(crate) fn namespace_is_open(
    store: &dyn Store,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<(), Status> {
    let Some(found) = store.get(&Key::new(&NAMESPACES, "", namespace)) else {
        return Err(Status::not_found(&NAMESPACES, namespace));
    };
    if found.meta.deletion_timestamp.is_some() {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        return Err(Status::forbidden(resource, name, &why));
    }
    Ok(())
}

/// Before a deletion.
pub fn delete(resource: &Resource, name: &str) -> Result<(), Status> {
    if resource == &NAMESPACES && PROTECTED.contains(&name) {
        return Err(Status::forbidden(resource, name, "this namespace may not be deleted"));
    }
    Ok(())
}
