//! A machine that asks for a certificate, as the server holds it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::codec::{FrameWriter, NO_CODE, StreamError};
use crate::frame::{JoinAnswer, JoinRequest, PendingRequest, RenewRequest};
use crate::listener::GOODBYE_SECONDS_MAX;

/// By what right it asks.
#[derive(Debug)]
pub enum Ask {
    /// By a token.
    Join(JoinRequest),
    /// By an administrator's word, which is still to come.
    Approval(PendingRequest),
    /// By a key that has had one.
    Renewal(RenewRequest),
}

/// One such machine; nothing of what it says is believed yet.
#[derive(Debug)]
pub struct Petition {
    pub ask: Ask,
    connection: quinn::Connection,
    writer: FrameWriter,
}

impl Petition {
    pub(crate) fn new(ask: Ask, connection: quinn::Connection, writer: FrameWriter) -> Self {
        Self { ask, connection, writer }
    }

    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Says that the request is held.
    pub async fn wait(&mut self, server_time_ms: i64) -> Result<(), StreamError> {
        self.writer.send(&JoinAnswer::Waiting { server_time_ms }).await
    }

    /// Resolves when the machine is gone. Cancel-safe.
    pub async fn gone(&self) {
        self.connection.closed().await;
    }

    /// Answers and closes.
    pub async fn answer(mut self, answer: &JoinAnswer) -> Result<(), StreamError> {
        self.writer.send(answer).await?;
        goodbye(self.connection, self.writer, "answered").await;
        Ok(())
    }
}

/// Closes once the peer has read the last answer, or has had time to.
pub(crate) async fn goodbye(connection: quinn::Connection, mut writer: FrameWriter, reason: &'static str) {
    writer.finish();
    let _ = tokio::time::timeout(Duration::from_secs(GOODBYE_SECONDS_MAX), writer.stopped()).await;
    connection.close(NO_CODE, reason.as_bytes());
}
