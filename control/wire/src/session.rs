//! One node's connection, as the server holds it.

use std::net::SocketAddr;

use control_api::stream::{ExecRequest, LogRequest};

use crate::codec::{FrameReader, FrameWriter, NO_CODE, StreamError};
use crate::frame::Opening;
use crate::report::ReportSource;
use crate::request::{self, ExecInputs, ExecOutputs, LogLines};
use crate::sync::SyncSink;

/// A node opens a stream and says at once what it is for.
const OPENING_SECONDS_MAX: u64 = 10;
/// A node whose streams are all in use makes the next request wait so long.
const OPEN_SECONDS_MAX: u64 = 10;

/// Cheap to clone. The node's certificate was verified and its greeting answered.
#[derive(Debug, Clone)]
pub struct Session {
    connection: quinn::Connection,
    node_name: String,
}

/// A stream that the node opened.
#[derive(Debug)]
pub enum NodeStream {
    Sync { since: u64, epoch: u64, sink: SyncSink },
    Report(ReportSource),
}

impl Session {
    pub(crate) fn new(connection: quinn::Connection, node_name: String) -> Self {
        Self { connection, node_name }
    }

    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Tells two sessions of one node apart.
    pub fn id(&self) -> usize {
        self.connection.stable_id()
    }

    /// The next stream; errors only when the connection is gone.
    pub async fn accept(&self) -> Result<NodeStream, StreamError> {
        loop {
            let (writer, reader) = self.connection.accept_bi().await.map_err(StreamError::Lost)?;
            let (writer, mut reader) = (FrameWriter::new(writer), FrameReader::new(reader));
            match reader.expect::<Opening>(OPENING_SECONDS_MAX).await {
                Ok(Opening::Sync { since, epoch }) => {
                    return Ok(NodeStream::Sync { since, epoch, sink: SyncSink::new(writer) });
                }
                Ok(Opening::Report) => return Ok(NodeStream::Report(ReportSource::new(writer, reader))),
                Ok(Opening::Join(_) | Opening::Hello(_)) => {
                    tracing::warn!(node = %self.node_name, "a node greeted twice on one connection");
                }
                Err(error @ StreamError::Lost(_)) => return Err(error),
                Err(error) => tracing::warn!(node = %self.node_name, %error, "a node's stream cannot be read"),
            }
        }
    }

    pub async fn logs(&self, request: LogRequest) -> Result<LogLines, StreamError> {
        in_time(LogLines::open(&self.connection, request)).await
    }

    pub async fn exec(&self, request: ExecRequest) -> Result<(ExecInputs, ExecOutputs), StreamError> {
        in_time(request::exec(&self.connection, request)).await
    }

    /// Resolves with the reason when the connection is gone.
    pub async fn closed(&self) -> String {
        self.connection.closed().await.to_string()
    }

    pub fn close(&self, reason: &str) {
        self.connection.close(NO_CODE, reason.as_bytes());
    }
}

async fn in_time<T>(open: impl Future<Output = Result<T, StreamError>>) -> Result<T, StreamError> {
    match tokio::time::timeout(std::time::Duration::from_secs(OPEN_SECONDS_MAX), open).await {
        Ok(opened) => opened,
        Err(_) => Err(StreamError::Late(OPEN_SECONDS_MAX)),
    }
}
