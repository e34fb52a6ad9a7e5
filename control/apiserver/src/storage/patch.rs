//! Patch in its three kinds. Each attempt applies the patch to the newest version.

mod operations;

use control_api::schema::{TypeRef, for_resource, strategic_merge};
use control_api::{Reason, Status};
use serde_json::Value;

use super::Ask;
use super::update::revise;
use crate::api::Api;
use crate::call::{PatchKind, Reply};
use operations::Refusal;

/// A patch that was read.
pub enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value, TypeRef),
}

impl Patch {
    /// `ty` is the type that a strategic patch follows.
    pub fn read(kind: PatchKind, body: &[u8], ty: Option<TypeRef>) -> Result<Self, Status> {
        let broken = |error: serde_json::Error| Status::bad_request(format!("error decoding patch: {error}"));
        if kind == PatchKind::Json {
            return Ok(Self::Json(operations::read(body)?));
        }
        let value: Value = serde_json::from_slice(body).map_err(broken)?;
        if !value.is_object() {
            return Err(Status::bad_request("a patch must be an object"));
        }
        match (kind, ty) {
            (PatchKind::Strategic, Some(ty)) => Ok(Self::Strategic(value, ty)),
            _ => Ok(Self::Merge(value)),
        }
    }

    /// The object with the patch applied.
    pub fn apply(&self, ask: &Ask, old: &Value) -> Result<Value, Status> {
        let mut new = old.clone();
        match self {
            Self::Json(patch) => operations::apply(patch, &mut new).map_err(|refusal| match refusal {
                Refusal::TooLarge(status) => status,
                Refusal::Failed(error) => {
                    let message = format!("the server rejected our request due to an error in our request: {error}");
                    let mut status = Status::new(Reason::Invalid, message);
                    status.details = Status::not_found(ask.resource, &ask.name).details;
                    status
                }
            })?,
            Self::Merge(patch) => json_patch::merge(&mut new, patch),
            Self::Strategic(patch, ty) => new = strategic_merge(new, patch.clone(), *ty)?,
        }
        Ok(new)
    }
}

pub async fn patch(api: &Api, ask: Ask, kind: PatchKind, body: &[u8]) -> Result<Reply, Status> {
    let patch = Patch::read(kind, body, for_resource(ask.resource))?;
    revise(api, &ask, |old| patch.apply(&ask, old)).await
}
