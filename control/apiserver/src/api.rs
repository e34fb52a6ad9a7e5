//! The pipeline's door for the control plane's own parts, and what all requests share.

use std::sync::{Arc, OnceLock};

use control_api::Status;
use control_api::image::{PlatformsAnswer, PlatformsRequest};
use control_pki::AccountKey;
use control_store::Store;
use tokio::sync::watch;

use crate::allocate::{Allocator, Ranges};
use crate::authenticate::Authenticator;
use crate::call::{Call, Reply};
use crate::metrics::Metrics;
use crate::node::NodeStreams;
use crate::rbac::Rbac;
use crate::{log, storage};

/// The API over one store.
pub struct Api {
    store: Arc<dyn Store>,
    nodes: OnceLock<Arc<dyn NodeStreams>>,
    tokens: OnceLock<Arc<dyn Authenticator>>,
    account_key: OnceLock<Arc<AccountKey>>,
    pub(crate) metrics: Metrics,
    pub(crate) rbac: Rbac,
    pub(crate) allocator: Allocator,
    /// Becomes true at shutdown: open watches and streams end then.
    closing: watch::Sender<bool>,
}

impl Api {
    /// With Kubernetes' usual ranges for Services.
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Self::with_ranges(store, Ranges::default())
    }

    pub fn with_ranges(store: Arc<dyn Store>, ranges: Ranges) -> Arc<Self> {
        Arc::new(Self {
            store,
            nodes: OnceLock::new(),
            tokens: OnceLock::new(),
            account_key: OnceLock::new(),
            metrics: Metrics::default(),
            rbac: Rbac::default(),
            allocator: Allocator::new(ranges),
            closing: watch::Sender::new(false),
        })
    }

    /// Where logs and exec come from. Set once, after the nodes' side was made from a client of this API.
    pub fn connect_nodes(&self, nodes: Arc<dyn NodeStreams>) {
        if self.nodes.set(nodes).is_err() {
            tracing::warn!("the nodes' streams were connected twice; the first stays");
        }
    }

    /// The key of ServiceAccounts' tokens. Without it none is signed or believed.
    pub fn sign_tokens(&self, key: Arc<AccountKey>) {
        if self.account_key.set(key).is_err() {
            tracing::warn!("a key for tokens was given twice; the first stays");
        }
    }

    /// Who knows bearer tokens beside those of ServiceAccounts.
    pub fn accept_tokens(&self, tokens: Arc<dyn Authenticator>) {
        if self.tokens.set(tokens).is_err() {
            tracing::warn!("an authenticator was given twice; the first stays");
        }
    }

    /// Reads go straight to the store's memory.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// One write: admission, validation and defaulting, then the store. The caller is trusted to be `call.user`.
    pub async fn call(&self, call: Call) -> Result<Reply, Status> {
        storage::write(self, call).await
    }

    /// Renews the Lease of a node that was heard, for the server's own part that hears it: nothing is admitted or
    /// validated. False where it has to be patched instead.
    pub async fn renew_node_lease(&self, name: &str, time: &str) -> bool {
        storage::renew(self, name, time).await
    }

    /// For which platforms the registry has an image, asked from `node`.
    pub async fn image_platforms(&self, node: &str, request: PlatformsRequest) -> Result<PlatformsAnswer, Status> {
        self.nodes().ok_or_else(log::no_nodes)?.platforms(node, request).await
    }

    pub(crate) fn nodes(&self) -> Option<&Arc<dyn NodeStreams>> {
        self.nodes.get()
    }

    pub(crate) fn tokens(&self) -> Option<&Arc<dyn Authenticator>> {
        self.tokens.get()
    }

    pub(crate) fn account_key(&self) -> Option<&Arc<AccountKey>> {
        self.account_key.get()
    }

    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Resolves when the server shuts down.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.closing.subscribe();
        async move {
            // An error means that the API itself is gone, which is a close too.
            let _gone = closing.wait_for(|closing| *closing).await;
        }
    }
}
