//! One part's door to the cluster: snapshots out of memory, writes as one named user.

use std::sync::Arc;

use bytes::Bytes;
use control_api::image::{PlatformsAnswer, PlatformsRequest};
use control_api::{Resource, Status};
use control_apiserver::{Api, Call, DeleteOptions, PatchKind, Reply, User, Verb, WriteOptions};
use control_store::{Expired, Key, Listing, Object, Page, Watch};
use serde_json::Value;

/// A change to send; never a whole typed object.
#[derive(Debug, Clone)]
pub enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Client {
    api: Arc<Api>,
    user: User,
}

impl Client {
    /// A client that writes as `user`, which is also the field manager.
    pub fn new(api: Arc<Api>, user: User) -> Self {
        Self { api, user }
    }

    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.api.store().get(&Key::new(resource, namespace, name))
    }

    /// The name that writes carry.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// All of one namespace, or of every namespace.
    pub fn list(&self, resource: &'static Resource, namespace: Option<&str>) -> Listing {
        self.api.store().list(resource, namespace, &Page::default())
    }

    /// Everything after `from`, usually a listing's revision.
    pub fn watch(&self, resource: &'static Resource, from: u64) -> Result<Watch, Expired> {
        self.api.store().watch(resource, from)
    }

    pub fn revision(&self) -> u64 {
        self.api.store().revision()
    }

    /// Creates `object` in `namespace` (empty for cluster scope).
    pub async fn create(
        &self,
        resource: &'static Resource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Object>, Status> {
        self.write(Verb::Create(object), resource, namespace, "", None).await
    }

    /// Replaces; `object` carries the resourceVersion it was read at.
    pub async fn update(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        object: Value,
    ) -> Result<Arc<Object>, Status> {
        self.write(Verb::Update(object), resource, namespace, name, None).await
    }

    /// Replaces through a subresource: `finalize` of a namespace.
    pub async fn update_subresource(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: Value,
    ) -> Result<Arc<Object>, Status> {
        self.write(Verb::Update(object), resource, namespace, name, Some(subresource)).await
    }

    /// Patches the object or, with `subresource`, its `status`.
    pub async fn patch(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        patch: Patch,
    ) -> Result<Arc<Object>, Status> {
        let (kind, body) = match patch {
            Patch::Json(body) => (PatchKind::Json, body),
            Patch::Merge(body) => (PatchKind::Merge, body),
            Patch::Strategic(body) => (PatchKind::Strategic, body),
        };
        self.write(Verb::Patch(kind, Bytes::from(body.to_string())), resource, namespace, name, subresource).await
    }

    /// Asks for a deletion, as a DELETE request would.
    pub async fn delete(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        options: DeleteOptions,
    ) -> Result<(), Status> {
        self.call(Verb::Delete(options), resource, namespace, name, None).await.map(|_| ())
    }

    /// A create on a subresource of an object that exists: `binding`, `eviction`.
    pub async fn create_subresource(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: Value,
    ) -> Result<(), Status> {
        self.call(Verb::Create(body), resource, namespace, name, Some(subresource)).await.map(|_| ())
    }

    /// The answer to a create on a subresource that leaves no object: a `token`.
    pub async fn ask(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: Value,
    ) -> Result<Value, Status> {
        match self.call(Verb::Create(body), resource, namespace, name, Some(subresource)).await? {
            Reply::Value { value, .. } => Ok(value),
            Reply::Object { .. } => Err(Status::internal("an answer was expected, not an object")),
        }
    }

    /// Renews a node's Lease in memory, without the pipeline; false where it has to be patched instead.
    pub async fn renew_node_lease(&self, name: &str, time: &str) -> bool {
        self.api.renew_node_lease(name, time).await
    }

    /// For which platforms the registry has an image, asked from `node`.
    pub async fn image_platforms(&self, node: &str, request: PlatformsRequest) -> Result<PlatformsAnswer, Status> {
        self.api.image_platforms(node, request).await
    }

    async fn write(
        &self,
        verb: Verb,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
    ) -> Result<Arc<Object>, Status> {
        match self.call(verb, resource, namespace, name, subresource).await? {
            Reply::Object { object, .. } => Ok(object),
            Reply::Value { .. } => Err(Status::internal("an object was expected in the answer")),
        }
    }

    async fn call(
        &self,
        verb: Verb,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
    ) -> Result<Reply, Status> {
        let options = WriteOptions { field_manager: self.user.name.clone(), ..WriteOptions::default() };
        let call = Call {
            user: self.user.clone(),
            verb,
            resource,
            subresource: subresource.map(str::to_owned),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            options,
        };
        self.api.call(call).await
    }
}
