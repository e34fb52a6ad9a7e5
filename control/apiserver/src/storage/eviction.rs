//! `pods/eviction`: a deletion that a drain asks for.

use control_api::Status;
use serde_json::Value;

use super::{Ask, binding, delete};
use crate::api::Api;
use crate::call::Reply;
use crate::decode::read_delete_options;

/// Deletes the pod. Disruption budgets are not served, so nothing refuses.
pub async fn evict(api: &Api, mut ask: Ask, eviction: &Value) -> Result<Reply, Status> {
    let name = eviction["metadata"]["name"].as_str().unwrap_or_default();
    if !name.is_empty() && name != ask.name {
        let message = format!("name in URL does not match name in Eviction object: {} != {name}", ask.name);
        return Err(Status::bad_request(message));
    }
    let options = read_delete_options(&eviction["deleteOptions"], &mut ask.options)?;
    ask.subresource = None;
    delete::delete(api, ask, &options).await?;
    Ok(Reply::Value { value: binding::success(), created: true, warnings: Vec::new() })
}
