//! Desired state on its way to the node: both ends.

use crate::codec::{FrameReader, FrameWriter, StreamError};
use crate::frame::Sync;

/// Frames are written together up to this size. A server has such a batch for each node at one time.
const BATCH_BYTES_MAX: usize = 16 << 10;

/// The agent's end.
#[derive(Debug)]
pub struct SyncStream {
    /// Held open: its end would tell the server that no one listens.
    _writer: FrameWriter,
    reader: FrameReader,
}

impl SyncStream {
    pub(crate) fn new(writer: FrameWriter, reader: FrameReader) -> Self {
        Self { _writer: writer, reader }
    }

    /// The next frame; `None` when the server ended the stream. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Sync>, StreamError> {
        self.reader.next().await
    }
}

/// The server's end.
#[derive(Debug)]
pub struct SyncSink {
    writer: FrameWriter,
}

impl SyncSink {
    pub(crate) fn new(writer: FrameWriter) -> Self {
        Self { writer }
    }

    /// Writes one frame, or puts it behind others until `flush` or enough of them. Not cancel-safe.
    pub async fn send(&mut self, frame: &Sync) -> Result<(), StreamError> {
        self.writer.queue(frame)?;
        if self.writer.queued_bytes() >= BATCH_BYTES_MAX { self.writer.flush().await } else { Ok(()) }
    }

    /// Writes what `send` held back. Not cancel-safe.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        self.writer.flush().await
    }

    /// Resolves when the node no longer listens. Cancel-safe.
    pub async fn stopped(&mut self) {
        self.writer.stopped().await;
    }
}
