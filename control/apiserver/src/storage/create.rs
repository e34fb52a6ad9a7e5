//! Create, with a name or a generated one.

use control_api::resource::CERTIFICATE_SIGNING_REQUESTS;
use control_api::{Status, defaults, strategy, validate};
use serde_json::{Value, json};

use super::commit::{Intent, Outcome, allocated, commit};
use super::{Ask, identity, mirror};
use crate::admit::certificate;
use crate::api::Api;
use crate::call::Reply;
use crate::{admit, clock};

/// Names tried for a `generateName` whose result is taken.
const NAMES_TRIED_MAX: usize = 8;
/// A generated name leaves room for its ending.
const NAME_BASE_MAX: usize = 58;

pub async fn create(api: &Api, mut ask: Ask, mut object: Value) -> Result<Reply, Status> {
    let warnings = identity::check(&ask, &mut object)?;
    identity::check_namespace(&ask, &mut object)?;
    if !identity::metadata_text(&object, "resourceVersion").is_empty() {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let generated = identity::metadata_text(&object, "name").is_empty();
    let base = identity::metadata_text(&object, "generateName").to_owned();
    if !generated {
        ask.name = identity::metadata_text(&object, "name").to_owned();
    }
    let uid = mirror::uid(&ask, &object).unwrap_or_else(clock::uid);
    let metadata = identity::metadata(&mut object)?;
    metadata.insert("uid".to_owned(), json!(uid));
    metadata.insert("creationTimestamp".to_owned(), json!(clock::now()));
    metadata.shift_remove("deletionTimestamp");
    metadata.shift_remove("deletionGracePeriodSeconds");
    let tried = if generated && !base.is_empty() { NAMES_TRIED_MAX } else { 1 };
    for _ in 0..tried {
        // What follows from a name must not outlive it.
        let mut candidate = if tried == 1 { std::mem::take(&mut object) } else { object.clone() };
        if tried > 1 {
            ask.name = generated_name(&base);
            identity::metadata(&mut candidate)?.insert("name".to_owned(), json!(ask.name));
        }
        shape(api, &ask, &base, &mut candidate)?;
        let held = allocated(api, &ask, &mut candidate, None)?;
        if let Outcome::Done(object) = commit(api, &ask, Intent::Create(&candidate), held).await? {
            return Ok(Reply::Object { object, created: true, warnings });
        }
    }
    Err(Status::already_exists(ask.resource, &ask.name))
}

/// Everything between a name and the store.
fn shape(api: &Api, ask: &Ask, base: &str, object: &mut Value) -> Result<(), Status> {
    defaults::apply(ask.resource, object);
    strategy::prepare_create(ask.resource, object);
    if ask.resource == &CERTIFICATE_SIGNING_REQUESTS {
        certificate::name_requester(&ask.user, object);
    }
    let about = if ask.name.is_empty() { base } else { &ask.name };
    if mirror::uid(ask, object).is_some() {
        // It runs already, as it is.
        admit::namespace_is_open(&**api.store(), ask.resource, &ask.namespace, about)?;
    } else {
        admit::create(&**api.store(), ask.resource, &ask.namespace, about, object)?;
    }
    // Again, for what follows from what admission set.
    defaults::apply(ask.resource, object);
    let mut wrong = validate::create(ask.resource, object);
    wrong.extend(certificate::complaints(ask.resource, object, None));
    if wrong.is_empty() { Ok(()) } else { Err(Status::invalid(ask.resource, &ask.name, wrong)) }
}

fn generated_name(base: &str) -> String {
    let end = base.char_indices().map(|(at, _)| at).take_while(|at| *at <= NAME_BASE_MAX).last().unwrap_or(0);
    let base = if base.len() <= NAME_BASE_MAX { base } else { &base[..end] };
    format!("{base}{}", clock::name_ending())
}
