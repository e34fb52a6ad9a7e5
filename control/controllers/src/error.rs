//! Why a key could not be reconciled; the runner tries it again later.

/// One reconcile's failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {kind} {namespace}/{name}")]
    View {
        kind: &'static str,
        namespace: String,
        name: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot read the selector of {kind} {namespace}/{name}")]
    Selector {
        kind: &'static str,
        namespace: String,
        name: String,
        #[source]
        source: control_api::selector::SelectorError,
    },
}
