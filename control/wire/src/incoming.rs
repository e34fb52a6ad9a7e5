//! What the server asks of the node, as the agent meets it.

use bytes::Bytes;
use control_api::image::PlatformsRequest;
use control_api::stream::{AttachRequest, ExecInput, ExecOutput, ExecRequest, ForwardRequest, LogRequest};
use control_api::usage::UsageRequest;
use tokio::sync::mpsc;

use crate::codec::{FrameReader, FrameWriter, StreamError};
use crate::frame::{ForwardAnswer, LogOutput, Request};
use crate::pipe::BytePipe;
use crate::platforms::PlatformsReply;
use crate::usage::UsageReply;

/// Frames of an exec between the process and the connection, each way.
const EXEC_FRAMES_MAX: usize = 16;
/// A stream's first frame comes with it or soon after.
const REQUEST_SECONDS_MAX: u64 = 10;
/// Requests without sense, one after the other; with more the session ends.
const UNREADABLE_MAX: usize = 100;

/// One stream that the server opened.
#[derive(Debug)]
pub enum Incoming {
    Log(LogRequest, LogSink),
    Exec(ExecRequest, ExecPipe),
    Platforms(PlatformsRequest, PlatformsReply),
    Attach(AttachRequest, ExecPipe),
    Forward(ForwardRequest, ForwardCall),
    Usage(UsageRequest, UsageReply),
}

/// Takes the next stream that can be understood; one that cannot is closed. A newer server may ask for what this agent
/// does not know; one that asks for nothing else is none.
pub(crate) async fn accept(connection: &quinn::Connection) -> Result<Incoming, StreamError> {
    for _ in 0..UNREADABLE_MAX {
        let (writer, reader) = connection.accept_bi().await.map_err(StreamError::Lost)?;
        let (writer, mut reader) = (FrameWriter::new(writer), FrameReader::new(reader));
        match reader.expect::<Request>(REQUEST_SECONDS_MAX).await {
            Ok(Request::Log(request)) => return Ok(Incoming::Log(request, LogSink { writer })),
            Ok(Request::Exec(request)) => return Ok(Incoming::Exec(request, ExecPipe::start(writer, reader))),
            Ok(Request::Platforms(request)) => return Ok(Incoming::Platforms(request, PlatformsReply::new(writer))),
            Ok(Request::Attach(request)) => return Ok(Incoming::Attach(request, ExecPipe::start(writer, reader))),
            Ok(Request::Forward(request)) => return Ok(Incoming::Forward(request, ForwardCall { writer, reader })),
            Ok(Request::Usage(request)) => return Ok(Incoming::Usage(request, UsageReply::new(writer))),
            Err(error @ StreamError::Lost(_)) => return Err(error),
            Err(error) => tracing::warn!(%error, "a request of the server cannot be read"),
        }
    }
    Err(StreamError::Unexpected("one request after the other that cannot be read"))
}

/// Where the lines of a log go.
#[derive(Debug)]
pub struct LogSink {
    writer: FrameWriter,
}

impl LogSink {
    /// Tells the reader that the log exists; say it before the first line.
    pub async fn started(&mut self) -> Result<(), StreamError> {
        self.writer.send(&LogOutput::Started).await
    }

    /// Sends a piece of the log, under a frame's limit. An error means that no one reads any more. Not cancel-safe.
    pub async fn send(&mut self, data: Bytes) -> Result<(), StreamError> {
        self.writer.send(&LogOutput::Data(data.into())).await
    }

    /// The log is at its end.
    pub async fn end(mut self) -> Result<(), StreamError> {
        self.writer.send(&LogOutput::End).await?;
        self.finish().await
    }

    /// The log cannot be had; `message` is what the user reads.
    pub async fn fail(mut self, message: impl Into<String>) -> Result<(), StreamError> {
        self.writer.send(&LogOutput::Failed { message: message.into() }).await?;
        self.finish().await
    }

    async fn finish(&mut self) -> Result<(), StreamError> {
        self.writer.finish();
        Ok(())
    }

    /// Resolves when the reader went away. Cancel-safe.
    pub async fn closed(&mut self) {
        self.writer.stopped().await;
    }
}

/// A connection to a pod that is asked for.
#[derive(Debug)]
pub struct ForwardCall {
    writer: FrameWriter,
    reader: FrameReader,
}

impl ForwardCall {
    /// It is made: from here on the stream is the connection.
    pub async fn connected(mut self) -> Result<BytePipe, StreamError> {
        self.writer.send(&ForwardAnswer::Connected).await?;
        Ok(BytePipe::new(self.writer, self.reader))
    }

    /// It cannot be made; `message` is what the user reads.
    pub async fn fail(mut self, message: impl Into<String>) -> Result<(), StreamError> {
        self.writer.send(&ForwardAnswer::Failed { message: message.into() }).await?;
        self.writer.finish();
        Ok(())
    }
}

/// Both directions of one exec. Dropping `output` without `Exited` or `Failed` tells the client that the exec failed;
/// `input` ends and `output` closes when the client went away.
#[derive(Debug)]
pub struct ExecPipe {
    pub input: mpsc::Receiver<ExecInput>,
    pub output: mpsc::Sender<ExecOutput>,
}

impl ExecPipe {
    fn start(writer: FrameWriter, reader: FrameReader) -> Self {
        let (input_sender, input) = mpsc::channel(EXEC_FRAMES_MAX);
        let (output, output_receiver) = mpsc::channel(EXEC_FRAMES_MAX);
        tokio::spawn(read_input(reader, input_sender));
        tokio::spawn(write_output(writer, output_receiver));
        Self { input, output }
    }
}

async fn read_input(mut reader: FrameReader, sender: mpsc::Sender<ExecInput>) {
    loop {
        let frame = tokio::select! {
            frame = reader.next() => frame,
            () = sender.closed() => break,
        };
        let Ok(Some(frame)) = frame else { return };
        if sender.send(frame).await.is_err() {
            break;
        }
    }
    reader.stop();
}

async fn write_output(mut writer: FrameWriter, mut receiver: mpsc::Receiver<ExecOutput>) {
    loop {
        let frame = tokio::select! {
            frame = receiver.recv() => frame,
            () = writer.stopped() => return,
        };
        let frame =
            frame.unwrap_or_else(|| ExecOutput::Failed { message: "exec ended without an exit code".to_owned() });
        let last = matches!(frame, ExecOutput::Exited { .. } | ExecOutput::Failed { .. });
        if writer.send(&frame).await.is_err() || last {
            break;
        }
    }
    writer.finish();
}
