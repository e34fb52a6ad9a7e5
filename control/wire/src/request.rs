//! Streams that the server opens towards a node.

use bytes::Bytes;
use control_api::stream::{ExecInput, ExecOutput, ExecRequest, LogRequest};

use crate::codec::{FrameReader, FrameWriter, StreamError};
use crate::frame::{LogOutput, Request};

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

pub(crate) async fn exec(
    connection: &quinn::Connection,
    request: ExecRequest,
) -> Result<(ExecInputs, ExecOutputs), StreamError> {
    let (writer, reader) = open(connection, &Request::Exec(request)).await?;
    Ok((ExecInputs { writer }, ExecOutputs { reader }))
}

async fn open(connection: &quinn::Connection, request: &Request) -> Result<(FrameWriter, FrameReader), StreamError> {
    let (writer, reader) = connection.open_bi().await.map_err(StreamError::Lost)?;
    let mut writer = FrameWriter::new(writer);
    writer.send(request).await?;
    Ok((writer, FrameReader::new(reader)))
}
