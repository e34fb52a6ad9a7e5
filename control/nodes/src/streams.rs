//! Logs, exec, attach, forwarded ports and questions about images for the apiserver, over streams that the server opens
//! towards the node.

use std::time::Duration;

use bytes::Bytes;
use control_api::image::{PlatformsAnswer, PlatformsRequest};
use control_api::stream::{AttachRequest, ExecInput, ExecOutput, ExecRequest, ForwardRequest, LogRequest};
use control_api::usage::{NodeUsage, UsageRequest};
use control_api::{Reason, Status};
use control_apiserver::node::{BoxFuture, Duplex};
use control_apiserver::{ExecStreams, NodeStreams};
use control_wire::request::LogError;
use control_wire::{ExecInputs, ExecOutputs, ForwardError, LogLines, Session, StreamError};
use tokio::sync::mpsc;

use crate::nodes::Nodes;

/// Pieces between a node and a client, each way.
const PIECES_MAX: usize = 16;
/// A node that says nothing for so long has a log that is only silent.
const LOG_START: Duration = Duration::from_secs(2);

impl NodeStreams for Nodes {
    fn document(&self, name: &str) -> Option<serde_json::Value> {
        self.read(name)
    }

    fn approve(&self, name: &str, fingerprint: &str) -> Result<serde_json::Value, Status> {
        self.let_in(name, fingerprint)
    }

    fn platforms(&self, node: &str, request: PlatformsRequest) -> BoxFuture<'_, Result<PlatformsAnswer, Status>> {
        let session = self.reach(node);
        let node = node.to_owned();
        Box::pin(async move { session?.platforms(request).await.map_err(|error| unreachable(&node, &error)) })
    }

    fn usage(&self, node: &str, request: UsageRequest) -> BoxFuture<'_, Result<NodeUsage, Status>> {
        let session = self.reach(node);
        let node = node.to_owned();
        Box::pin(async move {
            let session = session?;
            session.usage(request).await.map_err(|error| match error {
                StreamError::Closed => Status::new(Reason::ServiceUnavailable, too_old(&node, session.agent_version())),
                error => unreachable(&node, &error),
            })
        })
    }

    fn logs(&self, node: &str, request: LogRequest) -> BoxFuture<'_, Result<mpsc::Receiver<Bytes>, Status>> {
        let session = self.reach(node);
        let node = node.to_owned();
        Box::pin(async move {
            let mut lines = session?.logs(request).await.map_err(|error| unreachable(&node, &error))?;
            let first = match tokio::time::timeout(LOG_START, lines.next()).await {
                Ok(Ok(first)) => first,
                Ok(Err(LogError::Failed(message))) => return Err(Status::bad_request(message)),
                Ok(Err(LogError::Stream(error))) => return Err(unreachable(&node, &error)),
                Err(_) => Some(Bytes::new()),
            };
            let (sender, receiver) = mpsc::channel(PIECES_MAX);
            if let Some(first) = first {
                tokio::spawn(forward_log(lines, first, sender));
            }
            Ok(receiver)
        })
    }

    fn exec(&self, node: &str, request: ExecRequest) -> BoxFuture<'_, Result<ExecStreams, Status>> {
        let session = self.reach(node);
        let node = node.to_owned();
        Box::pin(async move {
            let opened = session?.exec(request).await.map_err(|error| unreachable(&node, &error))?;
            Ok(process(opened, String::new()))
        })
    }

    fn attach(&self, node: &str, request: AttachRequest) -> BoxFuture<'_, Result<ExecStreams, Status>> {
        let session = self.reach(node);
        let node = node.to_owned();
        Box::pin(async move {
            let session = session?;
            let opened = session.attach(request).await.map_err(|error| unreachable(&node, &error))?;
            Ok(process(opened, too_old(&node, session.agent_version())))
        })
    }

    fn forward(&self, node: &str, request: ForwardRequest) -> BoxFuture<'_, Result<Box<dyn Duplex>, Status>> {
        let session = self.reach(node);
        let node = node.to_owned();
        Box::pin(async move {
            let session = session?;
            match session.forward(request).await {
                Ok(pipe) => Ok(Box::new(pipe) as Box<dyn Duplex>),
                Err(ForwardError::Failed(message)) => Err(Status::new(Reason::InternalError, message)),
                Err(ForwardError::Stream(StreamError::Closed)) => {
                    Err(Status::new(Reason::InternalError, too_old(&node, session.agent_version())))
                }
                Err(ForwardError::Stream(error)) => Err(unreachable(&node, &error)),
            }
        })
    }
}

/// A node that closes a stream without a word did not understand what it is for.
fn too_old(node: &str, version: &str) -> String {
    format!("the agent of node {node}, version {version}, does not know of this: upgrade it")
}

/// `unanswered` is said where the node ends the stream before anything else.
fn process((inputs, outputs): (ExecInputs, ExecOutputs), unanswered: String) -> ExecStreams {
    let (input, input_receiver) = mpsc::channel(PIECES_MAX);
    let (output_sender, output) = mpsc::channel(PIECES_MAX);
    tokio::spawn(forward_input(inputs, input_receiver));
    tokio::spawn(forward_output(outputs, output_sender, unanswered));
    ExecStreams { input, output }
}

impl Nodes {
    fn reach(&self, node: &str) -> Result<Session, Status> {
        let message = || Status::new(Reason::ServiceUnavailable, format!("node {node} is not connected"));
        self.session(node).ok_or_else(message)
    }
}

fn unreachable(node: &str, error: &StreamError) -> Status {
    Status::new(Reason::ServiceUnavailable, format!("node {node} does not answer: {error}"))
}

async fn forward_log(mut lines: LogLines, mut piece: Bytes, sender: mpsc::Sender<Bytes>) {
    loop {
        if !piece.is_empty() && sender.send(piece).await.is_err() {
            return;
        }
        let next = tokio::select! {
            next = lines.next() => next,
            () = sender.closed() => return,
        };
        match next {
            Ok(Some(next)) => piece = next,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "a log broke off");
                return;
            }
        }
    }
}

async fn forward_input(mut inputs: ExecInputs, mut receiver: mpsc::Receiver<ExecInput>) {
    while let Some(input) = receiver.recv().await {
        if inputs.send(&input).await.is_err() {
            return;
        }
    }
    inputs.finish();
}

async fn forward_output(mut outputs: ExecOutputs, sender: mpsc::Sender<ExecOutput>, mut unanswered: String) {
    loop {
        let next = tokio::select! {
            next = outputs.next() => next,
            () = sender.closed() => return,
        };
        let output = match next {
            Ok(Some(output)) => output,
            Ok(None) | Err(StreamError::Closed) if !unanswered.is_empty() => {
                ExecOutput::Failed { message: std::mem::take(&mut unanswered) }
            }
            Ok(None) => return,
            Err(error) => ExecOutput::Failed { message: format!("connection to the node was lost: {error}") },
        };
        unanswered.clear();
        let last = matches!(output, ExecOutput::Exited { .. } | ExecOutput::Failed { .. });
        if sender.send(output).await.is_err() || last {
            return;
        }
    }
}
