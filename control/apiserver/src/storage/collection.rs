//! Deletecollection: every selected object, each as its own delete.

use std::sync::Arc;

use control_api::{Reason, Status};
use control_store::Page;
use http::Response;
use serde_json::json;

use super::{Ask, delete};
use crate::api::Api;
use crate::decode;
use crate::pipeline::Incomer;
use crate::respond::{self, Body};
use crate::route::ResourcePath;
use crate::selection::Selection;

pub async fn answer(api: &Arc<Api>, at: &ResourcePath, incomer: Incomer) -> Result<Response<Body>, Status> {
    let user = incomer.user.clone();
    let (query, options, write) = decode::collection_options(incomer).await?;
    let selection = Selection::of(at, &query)?;
    let listing = api.store().list(at.resource, selection.namespace.as_deref(), &Page::default());
    for object in listing.items.iter().filter(|object| selection.matches(object)) {
        let ask = Ask {
            user: user.clone(),
            resource: at.resource,
            subresource: None,
            namespace: object.key.namespace.to_string(),
            name: object.key.name.to_string(),
            options: write.clone(),
            deletes: true,
        };
        match delete::delete(api, ask, &options).await {
            Ok(_) => {}
            // Someone else was first.
            Err(status) if status.reason == Reason::NotFound => {}
            Err(status) => return Err(status),
        }
    }
    Ok(respond::value(&json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})))
}
