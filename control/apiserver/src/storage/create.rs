//! Create, with a name or a generated one.

use control_api::{Status, defaults, strategy, validate};
use serde_json::{Value, json};

use super::commit::{Intent, Outcome, commit};
use super::{Ask, identity};
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
    let metadata = identity::metadata(&mut object)?;
    metadata.insert("uid".to_owned(), json!(clock::uid()));
    metadata.insert("creationTimestamp".to_owned(), json!(clock::now()));
    metadata.shift_remove("deletionTimestamp");
    metadata.shift_remove("deletionGracePeriodSeconds");
    defaults::apply(ask.resource, &mut object);
    strategy::prepare_create(ask.resource, &mut object);
    for _ in 0..NAMES_TRIED_MAX {
        if generated && !base.is_empty() {
            ask.name = generated_name(&base);
            identity::metadata(&mut object)?.insert("name".to_owned(), json!(ask.name));
        }
        let about = if ask.name.is_empty() { &base } else { &ask.name };
        admit::create(&**api.store(), ask.resource, &ask.namespace, about, &mut object)?;
        // Again, for what follows from a generated name and from what admission set.
        defaults::apply(ask.resource, &mut object);
        let wrong = validate::create(ask.resource, &object);
        if !wrong.is_empty() {
            return Err(Status::invalid(ask.resource, &ask.name, wrong));
        }
        match commit(api, &ask, Intent::Create(&object)).await? {
            Outcome::Done(object) => return Ok(Reply::Object { object, created: true, warnings }),
            Outcome::Lost if generated && !base.is_empty() => {}
            Outcome::Lost => break,
        }
    }
    Err(Status::already_exists(ask.resource, &ask.name))
}

fn generated_name(base: &str) -> String {
    let end = base.char_indices().map(|(at, _)| at).take_while(|at| *at <= NAME_BASE_MAX).last().unwrap_or(0);
    let base = if base.len() <= NAME_BASE_MAX { base } else { &base[..end] };
    format!("{base}{}", clock::name_ending())
}
