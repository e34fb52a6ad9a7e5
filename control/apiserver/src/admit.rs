//! Admission: what is decided about a write by looking at other objects.

pub mod pod;

use control_api::resource::{NAMESPACES, PODS};
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
        pod::service_account_exists(store, namespace, name, object)?;
    }
    Ok(())
}

fn namespace_is_open(store: &dyn Store, resource: &Resource, namespace: &str, name: &str) -> Result<(), Status> {
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
