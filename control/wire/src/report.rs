//! Status, events and heartbeats on their way to the server: both ends.

use crate::codec::{FrameReader, FrameWriter, StreamError};
use crate::frame::{Ack, Report};

/// Reports on their way that the server has not taken yet; more of them wait.
const UNACKNOWLEDGED_MAX: u64 = 64;

/// The agent's end.
#[derive(Debug)]
pub struct ReportStream {
    writer: FrameWriter,
    reader: FrameReader,
    sent: u64,
    taken: u64,
}

impl ReportStream {
    pub(crate) fn new(writer: FrameWriter, reader: FrameReader) -> Self {
        Self { writer, reader, sent: 0, taken: 0 }
    }

    /// Sends one report; waits while too many are unacknowledged. Not cancel-safe: let one task own the stream.
    pub async fn send(&mut self, report: &Report) -> Result<(), StreamError> {
        while self.sent - self.taken >= UNACKNOWLEDGED_MAX {
            self.acknowledged().await?;
        }
        self.writer.send(report).await?;
        self.sent += 1;
        Ok(())
    }

    /// Waits until the server has taken every report sent. Cancel-safe.
    pub async fn flushed(&mut self) -> Result<(), StreamError> {
        while self.taken < self.sent {
            self.acknowledged().await?;
        }
        Ok(())
    }

    async fn acknowledged(&mut self) -> Result<(), StreamError> {
        let ack: Ack = self.reader.next().await?.ok_or(StreamError::Closed)?;
        if ack.taken < self.taken || ack.taken > self.sent {
            return Err(StreamError::Unexpected("an acknowledgement of what was not sent"));
        }
        self.taken = ack.taken;
        Ok(())
    }
}

/// The server's end.
#[derive(Debug)]
pub struct ReportSource {
    writer: FrameWriter,
    reader: FrameReader,
    taken: u64,
}

impl ReportSource {
    pub(crate) fn new(writer: FrameWriter, reader: FrameReader) -> Self {
        Self { writer, reader, taken: 0 }
    }

    /// The next report; `None` when the node ended the stream. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Report>, StreamError> {
        self.reader.next().await
    }

    /// Says that the report last read was dealt with. Not cancel-safe.
    pub async fn taken(&mut self) -> Result<(), StreamError> {
        self.taken += 1;
        self.writer.send(&Ack { taken: self.taken }).await
    }
}
