//! Update, and the way that every change of an existing object takes.

use control_api::resource::{CERTIFICATE_SIGNING_REQUESTS, NAMESPACES};
use control_api::{Reason, Status, defaults, strategy, validate};
use serde_json::{Value, json};

use super::commit::{Intent, Outcome, allocated, commit};
use super::{ATTEMPTS_MAX, Ask, identity};
use crate::admit::{self, certificate};
use crate::api::Api;
use crate::call::Reply;
use crate::clock;
use crate::negotiate::parse;

pub async fn update(api: &Api, ask: Ask, object: Value) -> Result<Reply, Status> {
    revise(api, &ask, |_| Ok(object.clone())).await
}

/// Replaces the object by what `change` makes of it, again where another writer was first. A resourceVersion that
/// `change` leaves in the object must be the current one.
pub async fn revise(api: &Api, ask: &Ask, change: impl Fn(&Value) -> Result<Value, Status>) -> Result<Reply, Status> {
    let key = ask.key();
    for _ in 0..ATTEMPTS_MAX {
        let current = api.store().get(&key).ok_or_else(|| Status::not_found(ask.resource, &ask.name))?;
        let old = parse(&current)?;
        let mut new = change(&old)?;
        let warnings = identity::check(ask, &mut new)?;
        identity::check_namespace(ask, &mut new)?;
        identity::check_name(ask, &mut new)?;
        check_versions(ask, &new, &old)?;
        prepare(api, ask, &mut new, &old)?;
        let held = allocated(api, ask, &mut new, Some(&old))?;
        // The revision itself is no difference.
        identity::metadata(&mut new)?.insert("resourceVersion".to_owned(), json!(current.revision.to_string()));
        if new == old {
            return Ok(Reply::Object { object: current, created: false, warnings });
        }
        let intent = if is_finished(ask, &new) {
            Intent::Remove { last: &new, revision: current.revision }
        } else {
            Intent::Replace { old: &old, new: &new, revision: current.revision }
        };
        if let Outcome::Done(object) = commit(api, ask, intent, held).await? {
            return Ok(Reply::Object { object, created: false, warnings });
        }
    }
    Err(Status::modified(ask.resource, &ask.name))
}

/// Optimistic locking: by resourceVersion and by uid, where the body has them.
fn check_versions(ask: &Ask, new: &Value, old: &Value) -> Result<(), Status> {
    let version = identity::metadata_text(new, "resourceVersion");
    if !version.is_empty() && version != "0" && version != identity::metadata_text(old, "resourceVersion") {
        return Err(Status::modified(ask.resource, &ask.name));
    }
    let (uid, found) = (identity::metadata_text(new, "uid"), identity::metadata_text(old, "uid"));
    if !uid.is_empty() && uid != found {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(Status::conflict(ask.resource, &ask.name, &why));
    }
    Ok(())
}

fn prepare(api: &Api, ask: &Ask, new: &mut Value, old: &Value) -> Result<(), Status> {
    identity::keep(new, old)?;
    let subresource = ask.subresource.as_deref();
    if subresource == Some("finalize") {
        // Only the finalizers of the spec are this subresource's to change.
        let finalizers = new["spec"]["finalizers"].clone();
        let metadata = new["metadata"].clone();
        *new = old.clone();
        new["metadata"] = metadata;
        new["spec"]["finalizers"] = if finalizers.is_null() { json!([]) } else { finalizers };
        return Ok(());
    }
    if subresource == Some("ephemeralcontainers") {
        // Nothing else of the pod is this subresource's to change.
        let added = new["spec"]["ephemeralContainers"].take();
        let version = new["metadata"]["resourceVersion"].take();
        *new = old.clone();
        new["metadata"]["resourceVersion"] = version;
        new["spec"]["ephemeralContainers"] = if added.is_null() { json!([]) } else { added };
    }
    // Defaults come first: a default that the body leaves out is no change of the spec.
    defaults::apply(ask.resource, new);
    if ask.resource == &CERTIFICATE_SIGNING_REQUESTS && subresource.is_some() {
        strategy::date_conditions(new, old, &clock::now());
    }
    strategy::prepare_update(ask.resource, new, old, subresource);
    let leaving = old["metadata"]["deletionTimestamp"].is_string();
    if leaving && let Some(added) = added_finalizer(new, old) {
        let why = format!(
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{\"{added}\"}}"
        );
        return Err(Status::new(Reason::Invalid, format!("{} \"{}\" is invalid: {why}", ask.resource.kind, ask.name)));
    }
    let mut wrong = match subresource {
        Some("status") => validate::update_status(ask.resource, new, old),
        Some("ephemeralcontainers") => validate::update_ephemeral(new, old),
        Some("approval") => validate::update_approval(new, old),
        // A binding sets the node, which no ordinary update may, and has checked that itself.
        Some("binding") => Vec::new(),
        _ => validate::update(ask.resource, new, old),
    };
    wrong.extend(certificate::complaints(ask.resource, new, Some(old)));
    if !wrong.is_empty() {
        return Err(Status::invalid(ask.resource, &ask.name, wrong));
    }
    admit::update(&**api.store(), ask.resource, &ask.name, new, old)
}

fn added_finalizer(new: &Value, old: &Value) -> Option<String> {
    let list = |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let before = list(old);
    list(new).iter().find(|finalizer| !before.contains(finalizer)).and_then(Value::as_str).map(str::to_owned)
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

/// Whether nothing holds an object back any more whose deletion was asked for.
pub fn is_finished(ask: &Ask, object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["deletionTimestamp"].is_string()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && is_empty(&metadata["finalizers"])
        && (ask.resource != &NAMESPACES || is_empty(&object["spec"]["finalizers"]))
}
