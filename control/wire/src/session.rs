//! One node's connection, as the server holds it.

use std::net::SocketAddr;

use control_api::image::{PlatformsAnswer, PlatformsRequest};
use control_api::stream::{AttachRequest, ExecRequest, ForwardRequest, LogRequest};
use control_api::usage::{NodeUsage, UsageRequest};

use crate::account::{TokenReply, TokenRequest};
use crate::codec::{FrameReader, FrameWriter, NO_CODE, StreamError};
use crate::frame::{JoinAnswer, Opening, RenewRequest, Request};
use crate::pipe::BytePipe;
use crate::platforms;
use crate::report::ReportSource;
use crate::request::{self, ExecInputs, ExecOutputs, ForwardError, LogLines};
use crate::sync::SyncSink;
use crate::{trust, usage};

/// A node opens a stream and says at once what it is for.
const OPENING_SECONDS_MAX: u64 = 10;
/// A node whose streams are all in use makes the next request wait so long.
const OPEN_SECONDS_MAX: u64 = 10;

/// Cheap to clone. The node's certificate was verified and its greeting answered.
#[derive(Debug, Clone)]
pub struct Session {
    connection: quinn::Connection,
    node_name: String,
    agent_version: String,
}

/// A stream that the node opened.
#[derive(Debug)]
pub enum NodeStream {
    Sync {
        since: u64,
        epoch: u64,
        sink: SyncSink,
    },
    Report(ReportSource),
    /// A new certificate for the node's key.
    Renew(RenewRequest, RenewalAnswer),
    /// A token for one of the node's pods.
    Token(TokenRequest, TokenReply),
}

/// Where the answer to a renewal goes.
#[derive(Debug)]
pub struct RenewalAnswer {
    writer: FrameWriter,
}

impl RenewalAnswer {
    pub async fn send(mut self, answer: &JoinAnswer) -> Result<(), StreamError> {
        self.writer.send(answer).await?;
        self.writer.finish();
        Ok(())
    }
}

impl Session {
    pub(crate) fn new(connection: quinn::Connection, node_name: String, agent_version: String) -> Self {
        Self { connection, node_name, agent_version }
    }

    pub fn agent_version(&self) -> &str {
        &self.agent_version
    }

    /// As the transport measures it.
    pub fn round_trip(&self) -> std::time::Duration {
        self.connection.rtt()
    }

    /// SHA-256 of the node's public key.
    pub fn key_hash(&self) -> Option<[u8; 32]> {
        trust::key_hash(&self.certificate()?)
    }

    /// When the certificate that the node showed ends, in seconds since 1970.
    pub fn certificate_ends(&self) -> Option<u64> {
        trust::end_seconds(&self.certificate()?)
    }

    fn certificate(&self) -> Option<Vec<u8>> {
        let chain =
            self.connection.peer_identity()?.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok()?;
        chain.first().map(|certificate| certificate.to_vec())
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
                Ok(Opening::Renew(request)) => {
                    return Ok(NodeStream::Renew(request, RenewalAnswer { writer }));
                }
                Ok(Opening::Token(request)) => return Ok(NodeStream::Token(request, TokenReply::new(writer))),
                Ok(Opening::Join(_) | Opening::Hello(_) | Opening::Pending(_)) => {
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
        in_time(request::process(&self.connection, &Request::Exec(request))).await
    }

    pub async fn attach(&self, request: AttachRequest) -> Result<(ExecInputs, ExecOutputs), StreamError> {
        in_time(request::process(&self.connection, &Request::Attach(request))).await
    }

    /// A connection to a port of a pod.
    pub async fn forward(&self, request: ForwardRequest) -> Result<BytePipe, ForwardError> {
        in_time(request::forward(&self.connection, request)).await
    }

    /// For which platforms the registry has an image, as the node sees it.
    pub async fn platforms(&self, request: PlatformsRequest) -> Result<PlatformsAnswer, StreamError> {
        platforms::ask(&self.connection, request).await
    }

    /// What the node and its pods use.
    pub async fn usage(&self, request: UsageRequest) -> Result<NodeUsage, StreamError> {
        usage::ask(&self.connection, request).await
    }

    /// Resolves with the reason when the connection is gone.
    pub async fn closed(&self) -> String {
        self.connection.closed().await.to_string()
    }

    pub fn close(&self, reason: &str) {
        self.connection.close(NO_CODE, reason.as_bytes());
    }
}

async fn in_time<T, E: From<StreamError>>(open: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match tokio::time::timeout(std::time::Duration::from_secs(OPEN_SECONDS_MAX), open).await {
        Ok(opened) => opened,
        Err(_) => Err(StreamError::Late(OPEN_SECONDS_MAX).into()),
    }
}
