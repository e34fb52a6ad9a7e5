//! What can go wrong, as the caller sees it.

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The worker's own words: the container could not be made or its command not be run.
    #[error("failed to {what} container {container}: {reason}")]
    Container { what: &'static str, container: String, reason: String },
    /// Refused in so many words rather than run in another way than asked for.
    #[error("failed to create sandbox {uid}: {what} is not supported yet")]
    Unsupported { uid: String, what: &'static str },
    #[error("sandbox {uid} not found")]
    NoSandbox { uid: String },
    #[error("container {container} not found")]
    NoContainer { container: String },
    #[error("shim of pod {uid} is gone")]
    ShimGone { uid: String },
    #[error("failed to {what}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
    /// Teardown went on past these.
    #[error("failed to remove everything of {what}: {}", errors.join("; "))]
    Teardown { what: String, errors: Vec<String> },
}
