//! The writes: each verb in a file, all of them through [`commit`].

mod binding;
pub mod collection;
mod commit;
mod create;
mod delete;
mod eviction;
mod identity;
mod mirror;
mod patch;
mod renewal;
pub mod scale;
mod token;
mod update;

use control_api::{Reason, Resource, Status};
use control_store::Key;

use crate::api::Api;
use crate::call::{Call, Reply, User, Verb, WriteOptions};

/// Attempts of a write whose object changes under it, before the client is told of the conflict.
const ATTEMPTS_MAX: usize = 16;

/// A call without its verb. What its user may do at all was decided before.
pub(crate) struct Ask {
    pub user: User,
    pub resource: &'static Resource,
    pub subresource: Option<String>,
    pub namespace: String,
    pub name: String,
    pub options: WriteOptions,
    /// The write is a deletion, though it may only mark the object.
    pub deletes: bool,
}

impl Ask {
    fn key(&self) -> Key {
        Key::new(self.resource, &self.namespace, &self.name)
    }
}

pub(crate) use renewal::renew;

/// Does one write.
pub(crate) async fn write(api: &Api, call: Call) -> Result<Reply, Status> {
    let Call { user, verb, resource, subresource, namespace, name, options } = call;
    let ask = Ask { user, resource, subresource, namespace, name, options, deletes: false };
    let subresource = ask.subresource.clone();
    match (subresource.as_deref(), verb) {
        (None, Verb::Create(object)) if ask.name.is_empty() => create::create(api, ask, object).await,
        (None | Some("status" | "finalize" | "ephemeralcontainers" | "approval"), Verb::Update(object)) => {
            update::update(api, ask, object).await
        }
        (None | Some("status" | "finalize" | "ephemeralcontainers" | "approval"), Verb::Patch(kind, body)) => {
            patch::patch(api, ask, kind, &body).await
        }
        (None, Verb::Delete(options)) => delete::delete(api, ask, &options).await,
        (Some("scale"), Verb::Update(body)) => scale::update(api, ask, body).await,
        (Some("scale"), Verb::Patch(kind, body)) => scale::patch(api, ask, kind, &body).await,
        (Some("binding"), Verb::Create(body)) => binding::bind(api, ask, &body).await,
        (Some("token"), Verb::Create(body)) => token::issue(api, ask, body).await,
        (Some("eviction"), Verb::Create(body)) => eviction::evict(api, ask, &body).await,
        _ => Err(Status::new(
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        )),
    }
}
