//! What can go wrong, as the caller sees it.

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The worker's own words: the container could not be made or its command not be run.
    #[error("failed to {what} container {container}: {reason}")]
    Container { what: &'static str, container: String, reason: String },
    /// Refused in so many words rather than run in another way than asked for.
    #[error("failed to create sandbox {uid}: {what} is not supported yet")]
    Unsupported { uid: String, what: &'static str },
    /// The node cannot do it: the pod is refused rather than run with less isolation than it counts on.
    #[error("this node cannot enforce what {what} asks for: {why}")]
    Unenforceable { what: String, why: String },
    #[error("sandbox {uid} not found")]
    NoSandbox { uid: String },
    #[error("container {container} not found")]
    NoContainer { container: String },
    #[error("shim of pod {uid} is gone")]
    ShimGone { uid: String },
    /// It was started by an agent that did not know of this yet.
    #[error("the pod's shim is older than this agent and cannot {what}: make the pod anew")]
    OldShim { what: &'static str },
    #[error("cannot load seccomp profile \"{path}\"")]
    Seccomp {
        path: String,
        #[source]
        source: std::io::Error,
    },
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
