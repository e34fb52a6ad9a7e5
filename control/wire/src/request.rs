//! Streams that the server opens towards a node.

use bytes::Bytes;
use control_api::stream::{ExecInput, ExecOutput, ForwardRequest, LogRequest};

use crate::codec::{FrameReader, FrameWriter, StreamError};
use crate::frame::{ForwardAnswer, LogOutput, Request};
use crate::link::ANSWER_SECONDS_MAX;
use crate::pipe::BytePipe;

/// The lines of one log. Dropping it tells the node to stop.
#[derive(Debug)]
pub struct LogLines {
    _writer: FrameWriter,
    reader: FrameReader,
}

/// A log that the node does not have, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{0}")]
    Failed(String),
    #[error("log stream broke off")]
    Stream(#[from] StreamError),
}

impl LogLines {
    pub(crate) async fn open(connection: &quinn::Connection, request: LogRequest) -> Result<Self, StreamError> {
        let (writer, reader) = open(connection, &Request::Log(request)).await?;
        Ok(Self { _writer: writer, reader })
    }

    /// The next piece; an empty one where the log only started; `None` at the end. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LogError> {
        match self.reader.next().await? {
            None => Err(LogError::Stream(StreamError::Closed)),
            Some(LogOutput::Started) => Ok(Some(Bytes::new())),
            Some(LogOutput::Data(data)) => Ok(Some(data.into())),
            Some(LogOutput::End) => Ok(None),
            Some(LogOutput::Failed { message }) => Err(LogError::Failed(message)),
        }
    }
}

/// The way to a process' standard input and terminal.
#[derive(Debug)]
pub struct ExecInputs {
    writer: FrameWriter,
}

impl ExecInputs {
    /// Not cancel-safe.
    pub async fn send(&mut self, input: &ExecInput) -> Result<(), StreamError> {
        self.writer.send(input).await
    }

    /// Nothing follows.
    pub fn finish(&mut self) {
        self.writer.finish();
    }
}

/// What a process writes, and how it ends. Dropping it tells the node that the client went away.
#[derive(Debug)]
pub struct ExecOutputs {
    reader: FrameReader,
}

impl ExecOutputs {
    /// `None` after `Exited` or `Failed`. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<ExecOutput>, StreamError> {
        self.reader.next().await
    }
}

/// For an exec or an attach.
pub(crate) async fn process(
    connection: &quinn::Connection,
    request: &Request,
) -> Result<(ExecInputs, ExecOutputs), StreamError> {
    let (writer, reader) = open(connection, request).await?;
    Ok((ExecInputs { writer }, ExecOutputs { reader }))
}

/// A connection that the node could not make, or that broke off.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error("{0}")]
    Failed(String),
    #[error("the stream to the node broke off")]
    Stream(#[from] StreamError),
}

pub(crate) async fn forward(connection: &quinn::Connection, request: ForwardRequest) -> Result<BytePipe, ForwardError> {
    let (writer, mut reader) = open(connection, &Request::Forward(request)).await?;
    match reader.expect::<ForwardAnswer>(ANSWER_SECONDS_MAX).await? {
        ForwardAnswer::Connected => Ok(BytePipe::new(writer, reader)),
        ForwardAnswer::Failed { message } => Err(ForwardError::Failed(message)),
    }
}

pub(crate) async fn open(
    connection: &quinn::Connection,
    request: &Request,
) -> Result<(FrameWriter, FrameReader), StreamError> {
    let (writer, reader) = connection.open_bi().await.map_err(StreamError::Lost)?;
    let mut writer = FrameWriter::new(writer);
    writer.send(request).await?;
    Ok((writer, FrameReader::new(reader)))
}
