//! What the API asks of nodes; `control/nodes` fulfils it over QUIC.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use control_api::image::{PlatformsAnswer, PlatformsRequest};
use control_api::stream::{AttachRequest, ExecInput, ExecOutput, ExecRequest, ForwardRequest, LogRequest};
use control_api::usage::{NodeUsage, UsageRequest};
use control_api::{Reason, Status};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Both directions of one exec.
#[derive(Debug)]
pub struct ExecStreams {
    pub input: mpsc::Sender<ExecInput>,
    /// Ends after `Exited` or `Failed`.
    pub output: mpsc::Receiver<ExecOutput>,
}

/// A connection to a pod.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Streams from a node, by the node's name. An unreachable node is a `Status` of ServiceUnavailable.
pub trait NodeStreams: Send + Sync + 'static {
    /// Bramble's own documents below `/bramble/v1`: `nodes` (links), `pending` (machines that wait), `server`.
    fn document(&self, _name: &str) -> Option<Value> {
        None
    }

    /// Lets in the machine that waits as `name`, if its key's fingerprint begins as told; an empty one fits every key.
    fn approve(&self, name: &str, _fingerprint: &str) -> Result<Value, Status> {
        Err(Status::new(Reason::NotFound, format!("no machine named {name} waits to be let in")))
    }

    /// For which platforms the registry has an image, asked from that node.
    fn platforms(&self, node: &str, _request: PlatformsRequest) -> BoxFuture<'_, Result<PlatformsAnswer, Status>> {
        let status = Status::new(Reason::ServiceUnavailable, format!("node {node} is not connected"));
        Box::pin(async move { Err(status) })
    }

    /// What the node and its pods use at this moment.
    fn usage(&self, node: &str, _request: UsageRequest) -> BoxFuture<'_, Result<NodeUsage, Status>> {
        let status = Status::new(Reason::ServiceUnavailable, format!("node {node} is not connected"));
        Box::pin(std::future::ready(Err(status)))
    }

    /// Lines as they come; ends when the log ends or, with `follow`, when the container does.
    fn logs(&self, node: &str, request: LogRequest) -> BoxFuture<'_, Result<mpsc::Receiver<Bytes>, Status>>;

    fn exec(&self, node: &str, request: ExecRequest) -> BoxFuture<'_, Result<ExecStreams, Status>>;

    fn attach(&self, node: &str, _request: AttachRequest) -> BoxFuture<'_, Result<ExecStreams, Status>> {
        let status = Status::new(Reason::ServiceUnavailable, format!("nothing on node {node} can be attached to"));
        Box::pin(std::future::ready(Err(status)))
    }

    /// Made when it resolves; the status' message is what the user reads where it cannot be made.
    fn forward(&self, node: &str, _request: ForwardRequest) -> BoxFuture<'_, Result<Box<dyn Duplex>, Status>> {
        let status = Status::new(Reason::ServiceUnavailable, format!("no port on node {node} can be reached"));
        Box::pin(std::future::ready(Err(status)))
    }
}
