//! Frames to bytes and back: a little-endian u32 length, then postcard.

use bytes::{Buf, BytesMut};
use quinn::{RecvStream, SendStream, VarInt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::{FRAME_BYTES_MAX, GREETING_FRAME_BYTES_MAX, STRANGER_FRAME_BYTES_MAX};

const LENGTH_BYTES: usize = 4;
/// One read from the transport; small, since most frames are.
const READ_BYTES_MAX: usize = 64 << 10;
/// An idle reader gives back a buffer larger than this.
const IDLE_BUFFER_BYTES_MAX: usize = 4 << 10;
/// More than anybody reads of what a peer says.
const WORDS_CHARS_MAX: usize = 1000;
/// Sent with a stop or reset; the protocol gives it no meaning.
pub(crate) const NO_CODE: VarInt = VarInt::from_u32(0);

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("peer closed the stream")]
    Closed,
    #[error("connection to the peer was lost")]
    Lost(#[source] quinn::ConnectionError),
    #[error("frame of {length} bytes is over the limit of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("frame cannot be read")]
    Malformed(#[source] postcard::Error),
    #[error("stream ended in the middle of a frame")]
    Torn,
    #[error("unexpected frame: {0}")]
    Unexpected(&'static str),
    #[error("peer did not answer within {0} s")]
    Late(u64),
}

impl From<quinn::ReadError> for StreamError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::ConnectionLost(source) => Self::Lost(source),
            _ => Self::Closed,
        }
    }
}

impl From<quinn::WriteError> for StreamError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::ConnectionLost(source) => Self::Lost(source),
            _ => Self::Closed,
        }
    }
}

/// What a peer says, as it may stand in a log or on a console.
pub(crate) fn words(message: &str) -> String {
    let plain = message.chars().map(|one| if one.is_control() { ' ' } else { one });
    plain.take(WORDS_CHARS_MAX).collect()
}

/// Appends one frame to `out`.
pub fn encode<T: Serialize>(frame: &T, out: &mut Vec<u8>) -> Result<(), StreamError> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let mut filled = postcard::to_extend(frame, std::mem::take(out)).map_err(StreamError::Malformed)?;
    let length = filled.len() - start - LENGTH_BYTES;
    if length > FRAME_BYTES_MAX {
        filled.truncate(start);
        *out = filled;
        return Err(StreamError::TooLong { length, limit: FRAME_BYTES_MAX });
    }
    filled[start..start + LENGTH_BYTES].copy_from_slice(&(length as u32).to_le_bytes());
    *out = filled;
    Ok(())
}

/// Takes one frame off the front of `buffer`; `None` where it is not whole yet.
pub fn decode<T: DeserializeOwned>(buffer: &mut BytesMut) -> Result<Option<T>, StreamError> {
    decode_within(buffer, FRAME_BYTES_MAX)
}

fn decode_within<T: DeserializeOwned>(buffer: &mut BytesMut, limit: usize) -> Result<Option<T>, StreamError> {
    let Some(head) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*head) as usize;
    if length > limit {
        return Err(StreamError::TooLong { length, limit });
    }
    if buffer.len() < LENGTH_BYTES + length {
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    let frame = buffer.split_to(length);
    postcard::from_bytes(&frame).map(Some).map_err(StreamError::Malformed)
}

/// The writing half of a stream.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    stream: SendStream,
    buffer: Vec<u8>,
}

impl FrameWriter {
    pub(crate) fn new(stream: SendStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Writes one frame. Not cancel-safe: a frame half written leaves the stream unreadable.
    pub(crate) async fn send<T: Serialize>(&mut self, frame: &T) -> Result<(), StreamError> {
        self.queue(frame)?;
        self.flush().await
    }

    /// Puts a frame behind those that the next `flush` writes.
    pub(crate) fn queue<T: Serialize>(&mut self, frame: &T) -> Result<(), StreamError> {
        encode(frame, &mut self.buffer)
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) async fn flush(&mut self) -> Result<(), StreamError> {
        let bytes = std::mem::take(&mut self.buffer);
        self.stream.write_all(&bytes).await?;
        if bytes.capacity() <= IDLE_BUFFER_BYTES_MAX {
            self.buffer = bytes;
            self.buffer.clear();
        }
        Ok(())
    }

    /// The stream itself, behind all frames that were sent.
    pub(crate) fn into_stream(self) -> SendStream {
        self.stream
    }

    /// No frame follows.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.finish();
    }

    /// Resolves when the peer has read everything after `finish`, or wants no more of it. Cancel-safe.
    pub(crate) async fn stopped(&mut self) {
        let _ = self.stream.stopped().await;
    }
}

/// The reading half of a stream.
#[derive(Debug)]
pub(crate) struct FrameReader {
    stream: RecvStream,
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new(), frame_bytes_max: FRAME_BYTES_MAX }
    }

    /// For the first frame of a peer, of which nothing or little is known: many of them at once shall not fill the memory.
    pub(crate) fn of_greeting(stream: RecvStream, certified: bool) -> Self {
        let frame_bytes_max = if certified { GREETING_FRAME_BYTES_MAX } else { STRANGER_FRAME_BYTES_MAX };
        Self { frame_bytes_max, ..Self::new(stream) }
    }

    /// The next frame; `None` when the peer finished. Cancel-safe: what was read stays in the buffer.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StreamError> {
        loop {
            if let Some(frame) = decode_within(&mut self.buffer, self.frame_bytes_max)? {
                return Ok(Some(frame));
            }
            if self.buffer.is_empty() && self.buffer.capacity() > IDLE_BUFFER_BYTES_MAX {
                self.buffer = BytesMut::new();
            }
            match self.stream.read_chunk(READ_BYTES_MAX, true).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(StreamError::Torn),
            }
        }
    }

    /// The next frame, which must come within `seconds`.
    pub(crate) async fn expect<T: DeserializeOwned>(&mut self, seconds: u64) -> Result<T, StreamError> {
        match tokio::time::timeout(std::time::Duration::from_secs(seconds), self.next()).await {
            Ok(frame) => frame?.ok_or(StreamError::Closed),
            Err(_) => Err(StreamError::Late(seconds)),
        }
    }

    /// The stream itself, and what of it was read already.
    pub(crate) fn into_parts(self) -> (RecvStream, BytesMut) {
        (self.stream, self.buffer)
    }

    /// Tells the peer to send no more.
    pub(crate) fn stop(&mut self) {
        let _ = self.stream.stop(NO_CODE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Ack, Opening, Report, Request, Sync, Welcome};

    #[test]
    fn frames_come_back_one_by_one_and_a_part_of_one_waits() {
        let mut bytes = Vec::new();
        encode(&Ack { taken: 1 }, &mut bytes).unwrap();
        encode(&Ack { taken: 300 }, &mut bytes).unwrap();
        let mut buffer = BytesMut::from(&bytes[..bytes.len() - 1]);
        assert_eq!(decode::<Ack>(&mut buffer).unwrap(), Some(Ack { taken: 1 }));
        assert_eq!(decode::<Ack>(&mut buffer).unwrap(), None);
        buffer.extend_from_slice(&bytes[bytes.len() - 1..]);
        assert_eq!(decode::<Ack>(&mut buffer).unwrap(), Some(Ack { taken: 300 }));
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_on_both_sides() {
        let json = vec![b' '; FRAME_BYTES_MAX];
        let mut out = vec![7];
        let error = encode(&Report::NodeStatus { json }, &mut out).unwrap_err();
        assert!(matches!(error, StreamError::TooLong { .. }));
        assert_eq!(out, [7]);
        let mut buffer = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        assert!(matches!(decode::<Ack>(&mut buffer), Err(StreamError::TooLong { .. })));
    }

    #[test]
    fn a_peers_words_move_no_cursor_and_fill_no_log() {
        let said = words(&format!("no\u{1b}[2J\n{}", "x".repeat(FRAME_BYTES_MAX)));
        assert!(said.starts_with("no [2J xx"), "{}", &said[..20]);
        assert_eq!(said.len(), WORDS_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let framed = || {
                let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
                framed.extend_from_slice(&bytes);
                BytesMut::from(&framed[..])
            };
            let _ = decode::<Opening>(&mut BytesMut::from(&bytes[..]));
            let _ = decode::<Opening>(&mut framed());
            let _ = decode::<Welcome>(&mut framed());
            let _ = decode::<Sync>(&mut framed());
            let _ = decode::<Report>(&mut framed());
            let _ = decode::<Request>(&mut framed());
        }
    }
}
