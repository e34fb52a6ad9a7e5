//! What Kubernetes' API server itself creates: the namespaces and roles that always exist, and [`services`].

pub mod services;

use control_api::resource::NAMESPACES;
use control_api::{Reason, Status};
use serde_json::json;

use crate::api::Api;
use crate::call::{Call, User, Verb, WriteOptions};
use crate::rbac::reconcile::reconcile;

const NAMES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Creates the namespaces and roles that are missing. Call it before serving.
pub async fn bootstrap(api: &Api) -> Result<(), Status> {
    for name in NAMES {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let call = Call {
            user: User::system("system:apiserver"),
            verb: Verb::Create(body),
            resource: &NAMESPACES,
            subresource: None,
            namespace: String::new(),
            name: String::new(),
            options: WriteOptions::default(),
        };
        match api.call(call).await {
            Ok(_) => {}
            Err(status) if status.reason == Reason::AlreadyExists => {}
            Err(status) => return Err(status),
        }
    }
    reconcile(api).await
}
