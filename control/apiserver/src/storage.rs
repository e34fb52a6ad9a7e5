//! The writes: each verb in a file, all of them through [`commit`].

mod binding;
pub mod collection;
mod commit;
mod create;
mod delete;
mod eviction;
mod identity;
mod patch;
pub mod scale;
mod update;

use control_api::{Reason, Resource, Status};
use control_store::Key;

use crate::api::Api;
use crate::call::{Call, Reply, Verb, WriteOptions};

/// Attempts of a write whose object changes under it, before the client is told of the conflict.
const ATTEMPTS_MAX: usize = 16;

/// A call without its verb, and without its user: who asks was decided before.
pub(crate) struct Ask {
    pub resource: &'static Resource,
    pub subresource: Option<String>,
    pub namespace: String,
    pub name: String,
    pub options: WriteOptions,
}

impl Ask {
    fn key(&self) -> Key {
        Key::new(self.resource, &self.namespace, &self.name)
    }
}

/// Does one write.
pub(crate) async fn write(api: &Api, call: Call) -> Result<Reply, Status> {
    let Call { user: _, verb, resource, subresource, namespace, name, options } = call;
    let ask = Ask { resource, subresource, namespace, name, options };
    let subresource = ask.subresource.clone();
    match (subresource.as_deref(), verb) {
        (None, Verb::Create(object)) if ask.name.is_empty() => create::create(api, ask, object).await,
        (None | Some("status" | "finalize"), Verb::Update(object)) => update::update(api, ask, object).await,
        (None | Some("status" | "finalize"), Verb::Patch(kind, body)) => patch::patch(api, ask, kind, &body).await,
        (None, Verb::Delete(options)) => delete::delete(api, ask, &options).await,
        (Some("scale"), Verb::Update(body)) => scale::update(api, ask, body).await,
        (Some("scale"), Verb::Patch(kind, body)) => scale::patch(api, ask, kind, &body).await,
        (Some("binding"), Verb::Create(body)) => binding::bind(api, ask, &body).await,
        (Some("eviction"), Verb::Create(body)) => eviction::evict(api, ask, &body).await,
        _ => Err(Status::new(
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        )),
    }
}
