//! Tokens that a node asks for: only for a pod that is bound to it, and only for that pod's account.

use std::sync::Arc;

use control_api::resource::{PODS, SERVICE_ACCOUNTS};
use control_client::Client;
use control_wire::{TokenAnswer, TokenReply, TokenRequest};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Requests of one node that are answered at one time; more wait.
pub const AT_ONCE_MAX: usize = 8;

/// Answers one request.
pub async fn answer(client: Client, node: String, request: TokenRequest, reply: TokenReply, places: Arc<Semaphore>) {
    let Ok(_place) = places.acquire_owned().await else { return };
    let answer = match issue(&client, &node, &request).await {
        Ok((token, seconds)) => TokenAnswer::Issued { token, seconds },
        Err(message) => {
            tracing::warn!(%node, pod = request.pod, message, "a node was refused a token");
            TokenAnswer::Refused { message }
        }
    };
    if let Err(error) = reply.answer(&answer).await {
        tracing::debug!(%node, %error, "a token did not arrive");
    }
}

async fn issue(client: &Client, node: &str, request: &TokenRequest) -> Result<(String, u64), String> {
    let TokenRequest { namespace, account, pod, pod_uid, audience, seconds } = request;
    // One answer for every pod that is not the node's: it learns nothing of others'.
    let unknown = || format!("pod {namespace}/{pod} is not bound to node {node}");
    let found = client.get(&PODS, namespace, pod).ok_or_else(unknown)?;
    let found: Value = serde_json::from_slice(&found.json).map_err(|_| unknown())?;
    if found["spec"]["nodeName"] != node || found["metadata"]["uid"] != pod_uid.as_str() {
        return Err(unknown());
    }
    if found["spec"]["serviceAccountName"] != account.as_str() {
        return Err(format!("pod {namespace}/{pod} does not run as service account {account}"));
    }
    if !projects(&found, audience) {
        return Err(format!("pod {namespace}/{pod} has no volume with a token for audience {audience:?}"));
    }
    let audiences: Vec<&str> = Some(audience.as_str()).into_iter().filter(|audience| !audience.is_empty()).collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": audiences, "expirationSeconds": seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": pod_uid},
        },
    });
    let answer = client.ask(&SERVICE_ACCOUNTS, namespace, account, "token", body).await;
    let answer = answer.map_err(|status| status.message)?;
    let token = answer["status"]["token"].as_str().ok_or("no token was made")?.to_owned();
    Ok((token, answer["spec"]["expirationSeconds"].as_u64().unwrap_or(*seconds)))
}

/// Whether a volume of the pod asks for a token for this audience.
fn projects(pod: &Value, audience: &str) -> bool {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let sources = volumes.flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten());
    let mut tokens = sources.map(|source| &source["serviceAccountToken"]).filter(|token| token.is_object());
    tokens.any(|token| token["audience"].as_str().unwrap_or_default() == audience)
}
