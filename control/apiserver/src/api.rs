//! The pipeline's door for the control plane's own parts.

use std::sync::Arc;

use control_api::Status;
use control_store::Store;

use crate::call::{Call, Reply};

/// The API over one store.
pub struct Api {
    store: Arc<dyn Store>,
}

impl Api {
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store })
    }

    /// Reads go straight to the store's memory.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// One write: admission, validation and defaulting, then the store.
    pub async fn call(&self, call: Call) -> Result<Reply, Status> {
        Err(Status::internal(format!("{} is not served yet", call.resource.plural)))
    }
}
