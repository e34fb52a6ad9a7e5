//! The `scale` subresource, read and written through its workload.

use control_api::schema::for_kind;
use control_api::{Resource, Status, scale};
use control_store::Object;
use serde_json::Value;

use super::Ask;
use super::patch::Patch;
use super::update::revise;
use crate::api::Api;
use crate::call::{PatchKind, Reply};
use crate::negotiate::parse;

/// The Scale of a workload.
pub fn of(object: &Object) -> Result<Value, Status> {
    Ok(scale::from_object(&parse(object)?))
}

pub(super) async fn update(api: &Api, ask: Ask, body: Value) -> Result<Reply, Status> {
    write(api, ask, |_, _| Ok(body.clone())).await
}

pub(super) async fn patch(api: &Api, ask: Ask, kind: PatchKind, body: &[u8]) -> Result<Reply, Status> {
    let patch = Patch::read(kind, body, for_kind("autoscaling/v1", "Scale"))?;
    write(api, ask, |ask, current| patch.apply(ask, current)).await
}

async fn write(
    api: &Api,
    mut ask: Ask,
    change: impl Fn(&Ask, &Value) -> Result<Value, Status>,
) -> Result<Reply, Status> {
    // The workload itself is updated: for it there is no subresource.
    ask.subresource = None;
    ask.options.duplicate_fields.clear();
    let about: (&'static Resource, String) = (ask.resource, ask.name.clone());
    let reply = revise(api, &ask, |old| {
        let wanted = change(&ask, &scale::from_object(old))?;
        let mut new = old.clone();
        let version = wanted["metadata"]["resourceVersion"].as_str().filter(|version| !version.is_empty());
        if let Some(version) = version {
            new["metadata"]["resourceVersion"] = version.into();
        }
        let wrong = scale::apply(&wanted, &mut new);
        if wrong.is_empty() { Ok(new) } else { Err(Status::invalid(about.0, &about.1, wrong)) }
    })
    .await?;
    match reply {
        Reply::Object { object, created, warnings } => Ok(Reply::Value { value: of(&object)?, created, warnings }),
        reply @ Reply::Value { .. } => Ok(reply),
    }
}
