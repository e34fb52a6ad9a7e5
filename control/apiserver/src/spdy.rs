//! SPDY/3.1 as kubectl speaks it: the server's half of a connection, over any byte stream.
//!
//! [`frame`] bytes to frames and back, [`header`] their compressed headers, [`connection`] streams.
//!
//! Absent on purpose: flow control. moby/spdystream, which every kubectl uses, neither keeps the windows of the
//! specification nor sends updates of them: who waited for one would wait forever. What holds a peer up is the connection
//! under it, which is not read while too much is unread.

mod connection;
mod frame;
mod header;

pub use connection::{Gone, Input, Stream, StreamReader, StreamWriter, open};
pub use frame::{Decoder, Frame};

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SpdyError {
    #[error("the connection broke off")]
    Io(#[from] std::io::Error),
    #[error("a control frame of {0} bytes is over the limit")]
    TooLong(usize),
    #[error("a frame of SPDY version {0} came, this is version 3")]
    Version(u16),
    #[error("a malformed frame: {0}")]
    Malformed(&'static str),
    #[error("headers cannot be decompressed")]
    Compression(#[source] flate2::DecompressError),
}
