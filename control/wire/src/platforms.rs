//! For which platforms a registry has an image, as the server asks it of a node: both ends.

use control_api::image::question::PLATFORMS_MAX;
use control_api::image::{PlatformsAnswer, PlatformsRequest};

use crate::codec::{FrameReader, FrameWriter, StreamError};
use crate::frame::Request;
use crate::request;

/// The node gives its registry 15 s.
const ANSWER_SECONDS_MAX: u64 = 20;

/// The server's end.
pub(crate) async fn ask(
    connection: &quinn::Connection,
    request: PlatformsRequest,
) -> Result<PlatformsAnswer, StreamError> {
    let (_writer, mut reader): (FrameWriter, FrameReader) =
        request::open(connection, &Request::Platforms(request)).await?;
    let answer = reader.expect::<PlatformsAnswer>(ANSWER_SECONDS_MAX).await?;
    if matches!(&answer, PlatformsAnswer::Known(platforms) if platforms.len() > PLATFORMS_MAX) {
        return Err(StreamError::Unexpected("an image of too many platforms"));
    }
    Ok(answer)
}

/// Where the node's answer goes.
#[derive(Debug)]
pub struct PlatformsReply {
    writer: FrameWriter,
}

impl PlatformsReply {
    pub(crate) fn new(writer: FrameWriter) -> Self {
        Self { writer }
    }

    pub async fn answer(mut self, answer: &PlatformsAnswer) -> Result<(), StreamError> {
        self.writer.send(answer).await?;
        self.writer.finish();
        Ok(())
    }
}
