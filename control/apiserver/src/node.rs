//! What the API asks of nodes; `control/nodes` fulfils it over QUIC.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use control_api::Status;
use control_api::stream::{ExecInput, ExecOutput, ExecRequest, LogRequest};
use tokio::sync::mpsc;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Both directions of one exec.
#[derive(Debug)]
pub struct ExecStreams {
    pub input: mpsc::Sender<ExecInput>,
    /// Ends after `Exited` or `Failed`.
    pub output: mpsc::Receiver<ExecOutput>,
}

/// Streams from a node, by the node's name. An unreachable node is a `Status` of ServiceUnavailable.
pub trait NodeStreams: Send + Sync + 'static {
    /// Lines as they come; ends when the log ends or, with `follow`, when the container does.
    fn logs(&self, node: &str, request: LogRequest) -> BoxFuture<'_, Result<mpsc::Receiver<Bytes>, Status>>;

    fn exec(&self, node: &str, request: ExecRequest) -> BoxFuture<'_, Result<ExecStreams, Status>>;
}
