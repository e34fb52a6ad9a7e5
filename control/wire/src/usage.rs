//! What a node and its pods use, as the server asks for it: both ends.

use control_api::usage::{NodeUsage, UsageRequest};

use crate::codec::{FrameReader, FrameWriter, StreamError};
use crate::frame::{Request, UsageAnswer};
use crate::request;

/// A node looks twice, a second apart, and waits for whoever asked before.
const ANSWER_SECONDS_MAX: u64 = 10;

/// The server's end.
pub(crate) async fn ask(connection: &quinn::Connection, request: UsageRequest) -> Result<NodeUsage, StreamError> {
    let (_writer, mut reader): (FrameWriter, FrameReader) = request::open(connection, &Request::Usage(request)).await?;
    let answer = reader.expect::<UsageAnswer>(ANSWER_SECONDS_MAX).await?;
    serde_json::from_slice(&answer.json).map_err(|_| StreamError::Unexpected("a usage that cannot be read"))
}

/// Where the node's answer goes.
#[derive(Debug)]
pub struct UsageReply {
    writer: FrameWriter,
}

impl UsageReply {
    pub(crate) fn new(writer: FrameWriter) -> Self {
        Self { writer }
    }

    pub async fn answer(mut self, usage: &NodeUsage) -> Result<(), StreamError> {
        let json = serde_json::to_vec(usage).map_err(|_| StreamError::Unexpected("a usage that cannot be written"))?;
        self.writer.send(&UsageAnswer { json }).await?;
        self.writer.finish();
        Ok(())
    }
}
