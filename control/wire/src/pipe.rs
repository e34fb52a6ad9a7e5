//! A stream that carries nothing but bytes once its first frames have passed.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::codec::{FrameReader, FrameWriter};

/// Both directions. A shutdown ends what is written; dropping it ends both.
#[derive(Debug)]
pub struct BytePipe {
    writer: SendStream,
    reader: RecvStream,
    /// What came right behind the last frame.
    ahead: BytesMut,
}

impl BytePipe {
    pub(crate) fn new(writer: FrameWriter, reader: FrameReader) -> Self {
        let (reader, ahead) = reader.into_parts();
        Self { writer: writer.into_stream(), reader, ahead }
    }

    /// Resolves when the peer wants no more of what is written here.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = self.writer.stopped();
        async move {
            let _ = stopped.await;
        }
    }
}

impl AsyncRead for BytePipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = buffer.remaining().min(self.ahead.len());
            buffer.put_slice(&self.ahead[..length]);
            self.ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        AsyncRead::poll_read(Pin::new(&mut self.reader), context, buffer)
    }
}

impl AsyncWrite for BytePipe {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.writer), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.writer), context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.writer), context)
    }
}
