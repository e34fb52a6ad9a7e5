//! Frames: eight bytes of head, control or data, then as many bytes as it says.
//!
//! ```text
//! control: 1 | version 15 bits | type 16 bits | flags 8 bits | length 24 bits
//! data:    0 | stream 31 bits                 | flags 8 bits | length 24 bits
//! ```

use bytes::{Buf, Bytes, BytesMut};

use super::SpdyError;
use super::header::{HeaderReader, Headers};

const HEAD_BYTES: usize = 8;
const VERSION: u16 = 3;
/// One of kubectl's is under 200 bytes.
const CONTROL_BYTES_MAX: usize = 16 << 10;
/// Data of a frame is given out as it comes, in pieces of at most so much.
const PIECE_BYTES_MAX: usize = 32 << 10;
/// The longest frame of data that the head can announce.
const DATA_BYTES_MAX: usize = (1 << 24) - 1;
const STREAM_BITS: u32 = 0x7fff_ffff;
const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Why a stream is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Reset {
    Refused = 3,
    Cancel = 5,
}

/// What a peer says, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    SynStream {
        stream: u32,
        fin: bool,
        headers: Headers,
    },
    Reset {
        stream: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// A piece of a stream's data; `fin` comes with the last one.
    Data {
        stream: u32,
        fin: bool,
        bytes: Bytes,
    },
    /// Settings, window updates, further headers.
    Other,
}

/// Data of a frame that has not all come yet.
#[derive(Debug)]
struct OpenData {
    stream: u32,
    fin: bool,
    left: usize,
}

/// Takes frames off a buffer. Never holds more than one control frame.
#[derive(Debug, Default)]
pub struct Decoder {
    headers: HeaderReader,
    data: Option<OpenData>,
}

impl Decoder {
    /// The next frame or piece of data; `None` where more bytes are needed.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, SpdyError> {
        if let Some(open) = self.data.take() {
            return Ok(self.piece(open, buffer));
        }
        let Some(head) = buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let (word, flags) = (u32::from_be_bytes([head[0], head[1], head[2], head[3]]), head[4]);
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
        if word & !STREAM_BITS == 0 {
            buffer.advance(HEAD_BYTES);
            if word == 0 {
                return Err(SpdyError::Malformed("data of stream 0"));
            }
            let open = OpenData { stream: word, fin: flags & FIN != 0, left: length };
            return Ok(self.piece(open, buffer));
        }
        let (version, kind) = ((word >> 16) as u16 & 0x7fff, word as u16);
        if version != VERSION {
            return Err(SpdyError::Version(version));
        }
        if length > CONTROL_BYTES_MAX {
            return Err(SpdyError::TooLong(length));
        }
        if buffer.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        buffer.advance(HEAD_BYTES);
        self.control(kind, flags, buffer.split_to(length).freeze()).map(Some)
    }

    fn piece(&mut self, open: OpenData, buffer: &mut BytesMut) -> Option<Frame> {
        let OpenData { stream, fin, left } = open;
        if left > 0 && buffer.is_empty() {
            self.data = Some(open);
            return None;
        }
        let bytes = buffer.split_to(left.min(buffer.len()).min(PIECE_BYTES_MAX)).freeze();
        let left = left - bytes.len();
        if left > 0 {
            self.data = Some(OpenData { stream, fin, left });
        }
        Some(Frame::Data { stream, fin: fin && left == 0, bytes })
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: Bytes) -> Result<Frame, SpdyError> {
        let number = |body: &mut Bytes| body.try_get_u32().map_err(|_| SpdyError::Malformed("it is too short"));
        let stream = |body: &mut Bytes| match number(body)? & STREAM_BITS {
            0 => Err(SpdyError::Malformed("a control frame for stream 0")),
            stream => Ok(stream),
        };
        match kind {
            SYN_STREAM => {
                let stream = stream(&mut body)?;
                // The stream it belongs to; then a priority and a slot, of one byte each.
                number(&mut body)?;
                body.try_get_u16().map_err(|_| SpdyError::Malformed("it is too short"))?;
                let headers = self.headers.read(&body)?;
                Ok(Frame::SynStream { stream, fin: flags & FIN != 0, headers })
            }
            // Their headers change the state of the decompression.
            SYN_REPLY | HEADERS => {
                stream(&mut body)?;
                self.headers.read(&body)?;
                Ok(Frame::Other)
            }
            RST_STREAM => Ok(Frame::Reset { stream: stream(&mut body)? }),
            PING => Ok(Frame::Ping { id: number(&mut body)? }),
            GOAWAY => Ok(Frame::GoAway),
            _ => Ok(Frame::Other),
        }
    }
}

fn control(kind: u16, length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD_BYTES + length);
    frame.extend_from_slice(&(1 << 15 | VERSION).to_be_bytes());
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(&(length as u32).to_be_bytes());
    frame
}

/// Accepts a stream; `compressed` are its headers.
pub fn syn_reply(stream: u32, compressed: &[u8]) -> Vec<u8> {
    let mut frame = control(SYN_REPLY, 4 + compressed.len());
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(compressed);
    frame
}

pub fn rst_stream(stream: u32, why: Reset) -> Vec<u8> {
    let mut frame = control(RST_STREAM, 8);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&(why as u32).to_be_bytes());
    frame
}

pub fn ping(id: u32) -> Vec<u8> {
    let mut frame = control(PING, 4);
    frame.extend_from_slice(&id.to_be_bytes());
    frame
}

/// Data of at most 16 MiB.
pub fn data(stream: u32, bytes: &[u8], fin: bool) -> Vec<u8> {
    debug_assert!(bytes.len() <= DATA_BYTES_MAX, "the writer cuts data into pieces");
    let mut frame = Vec::with_capacity(HEAD_BYTES + bytes.len());
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    frame[4] = if fin { FIN } else { 0 };
    frame.extend_from_slice(bytes);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Frame>, SpdyError> {
        let (mut decoder, mut buffer, mut frames) = (Decoder::default(), BytesMut::from(bytes), Vec::new());
        while let Some(frame) = decoder.next(&mut buffer)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn data_is_given_out_as_it_comes_and_ends_with_its_last_piece() {
        let frame = data(5, b"hello", true);
        let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::from(&frame[..10]));
        let piece = |bytes: &'static [u8], fin| Some(Frame::Data { stream: 5, fin, bytes: Bytes::from_static(bytes) });
        assert_eq!(decoder.next(&mut buffer).unwrap(), piece(b"he", false));
        assert_eq!(decoder.next(&mut buffer).unwrap(), None);
        buffer.extend_from_slice(&frame[10..]);
        assert_eq!(decoder.next(&mut buffer).unwrap(), piece(b"llo", true));
        assert_eq!(all(&data(7, b"", true)).unwrap(), [Frame::Data { stream: 7, fin: true, bytes: Bytes::new() }]);
    }

    #[test]
    fn control_frames_are_known_and_those_of_no_matter_pass() {
        let mut bytes = ping(7);
        bytes.extend(rst_stream(3, Reset::Cancel));
        // A window update.
        bytes.extend([0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 9]);
        assert_eq!(all(&bytes).unwrap(), [Frame::Ping { id: 7 }, Frame::Reset { stream: 3 }, Frame::Other]);
    }

    #[test]
    fn what_is_not_spdy_3_or_too_long_is_refused() {
        assert!(matches!(all(&[0x80, 2, 0, 1, 0, 0, 0, 0]), Err(SpdyError::Version(2))));
        assert!(matches!(all(&[0x80, 3, 0, 1, 0, 1, 0, 0]), Err(SpdyError::TooLong(65536))));
        assert!(matches!(all(&[0, 0, 0, 0, 0, 0, 0, 0]), Err(SpdyError::Malformed(_))));
        assert!(matches!(all(&[0x80, 3, 0, 6, 0, 0, 0, 1, 0]), Err(SpdyError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), kind in 0u8..12) {
            let _ = all(&bytes);
            let mut framed = vec![0x80, 3, 0, kind, 0];
            framed.extend_from_slice(&(bytes.len() as u32).to_be_bytes()[1..]);
            framed.extend_from_slice(&bytes);
            let _ = all(&framed);
        }
    }
}
