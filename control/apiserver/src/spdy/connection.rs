//! Streams of one connection: the client opens them, both sides write to them.
//!
//! One task reads and one writes, both inside the future that [`open`] gives: it has to be polled for anything to move.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::SpdyError;
use super::frame::{self, Decoder, Frame, Reset};
use super::header::{self, Headers};

/// Streams at once; a port that is forwarded takes two for each of its connections.
const STREAMS_MAX: usize = 256;
/// New streams that wait to be looked at.
const NEW_STREAMS_MAX: usize = 8;
/// What was received and is not read yet, over all streams: as in a client's own, one that is stalled holds up the others.
const UNREAD_BYTES_MAX: usize = 1 << 20;
/// Frames between the streams and the connection.
const FRAMES_MAX: usize = 16;
/// Data in one frame.
const DATA_BYTES_MAX: usize = 32 << 10;
/// Read at a time: keystrokes and pings come alone, and after a full read there is more.
const READ_BYTES_MIN: usize = 512;
const READ_BYTES_MAX: usize = 32 << 10;

/// One stream that the client opened, and that was accepted.
#[derive(Debug)]
pub struct Stream {
    pub headers: Headers,
    pub reader: StreamReader,
    pub writer: StreamWriter,
}

/// What came on a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    Data(Bytes),
    /// The client writes no more.
    End,
    /// The client wants no more of the stream, or is gone.
    Gone,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Given back when the piece was taken.
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Arrived {
    Piece(Piece),
    End,
}

/// Bounded by the room that each piece holds.
type PieceSender = mpsc::UnboundedSender<Arrived>;

#[derive(Debug)]
pub struct StreamReader {
    pieces: mpsc::UnboundedReceiver<Arrived>,
    _slot: Arc<OwnedSemaphorePermit>,
}

impl StreamReader {
    /// Cancel-safe. After `End` it resolves when the client resets the stream or leaves.
    pub async fn next(&mut self) -> Input {
        match self.pieces.recv().await {
            Some(Arrived::Piece(piece)) => Input::Data(piece.bytes),
            Some(Arrived::End) => Input::End,
            None => Input::Gone,
        }
    }
}

/// The way back. An error says that the connection is gone.
#[derive(Debug)]
pub struct StreamWriter {
    id: u32,
    frames: mpsc::Sender<Vec<u8>>,
    _slot: Arc<OwnedSemaphorePermit>,
}

/// The connection is gone.
#[derive(Debug)]
pub struct Gone;

impl StreamWriter {
    pub async fn write(&self, bytes: &[u8]) -> Result<(), Gone> {
        for piece in bytes.chunks(DATA_BYTES_MAX) {
            self.frames.send(frame::data(self.id, piece, false)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Nothing follows.
    pub async fn finish(&self) -> Result<(), Gone> {
        self.frames.send(frame::data(self.id, &[], true)).await.map_err(|_| Gone)
    }

    /// Neither side says more.
    pub async fn reset(&self) -> Result<(), Gone> {
        self.frames.send(frame::rst_stream(self.id, Reset::Cancel)).await.map_err(|_| Gone)
    }
}

/// The streams of a connection, and the future that moves them: it ends when the client leaves or errs.
pub fn open<S>(io: S) -> (mpsc::Receiver<Stream>, impl Future<Output = Result<(), SpdyError>>)
where
    S: AsyncRead + AsyncWrite,
{
    let (read, write) = tokio::io::split(io);
    let (new, streams) = mpsc::channel(NEW_STREAMS_MAX);
    let (frames, queue) = mpsc::channel(FRAMES_MAX);
    let reading = Reading {
        new,
        frames,
        open: HashMap::new(),
        last: 0,
        slots: Arc::new(Semaphore::new(STREAMS_MAX)),
        room: Arc::new(Semaphore::new(UNREAD_BYTES_MAX)),
    };
    let run = async move {
        tokio::select! {
            ended = reading.run(read) => ended,
            ended = write_all(write, queue) => ended,
        }
    };
    (streams, run)
}

async fn write_all<S: AsyncWrite>(mut io: WriteHalf<S>, mut queue: mpsc::Receiver<Vec<u8>>) -> Result<(), SpdyError> {
    while let Some(frame) = queue.recv().await {
        io.write_all(&frame).await?;
        if queue.is_empty() {
            io.flush().await?;
        }
    }
    Ok(())
}

struct Reading {
    new: mpsc::Sender<Stream>,
    frames: mpsc::Sender<Vec<u8>>,
    /// Streams on which the client still writes, or may still send a reset.
    open: HashMap<u32, PieceSender>,
    last: u32,
    slots: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

impl Reading {
    async fn run<S: AsyncRead>(mut self, mut io: ReadHalf<S>) -> Result<(), SpdyError> {
        let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
        let mut chunk = READ_BYTES_MIN;
        loop {
            while let Some(frame) = decoder.next(&mut buffer)? {
                if frame == Frame::GoAway {
                    return Ok(());
                }
                self.take(frame).await?;
            }
            if buffer.is_empty() && chunk == READ_BYTES_MIN {
                // An idle connection keeps no large buffer.
                buffer = BytesMut::new();
            }
            buffer.reserve(chunk);
            match io.read_buf(&mut buffer).await? {
                0 => return Ok(()),
                got if got >= chunk => chunk = READ_BYTES_MAX,
                _ => chunk = READ_BYTES_MIN,
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), SpdyError> {
        match frame {
            Frame::SynStream { stream, fin, headers } => self.accept(stream, fin, headers).await?,
            Frame::Data { stream, fin, bytes } => self.deliver(stream, fin, bytes).await,
            Frame::Reset { stream } => drop(self.open.remove(&stream)),
            // Odd ones are the client's.
            Frame::Ping { id } if !id.is_multiple_of(2) => self.send(frame::ping(id)).await,
            Frame::Ping { .. } | Frame::GoAway | Frame::Other => {}
        }
        Ok(())
    }

    async fn accept(&mut self, id: u32, fin: bool, headers: Headers) -> Result<(), SpdyError> {
        if id.is_multiple_of(2) || id <= self.last {
            return Err(SpdyError::Malformed("a stream's number is not the client's, or not a new one"));
        }
        let first = self.last == 0;
        self.last = id;
        self.open.retain(|_, pieces| !pieces.is_closed());
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            self.send(frame::rst_stream(id, Reset::Refused)).await;
            return Ok(());
        };
        let (pieces, receiver) = mpsc::unbounded_channel();
        if fin {
            let _ = pieces.send(Arrived::End);
        }
        self.open.insert(id, pieces);
        self.send(frame::syn_reply(id, &header::none(first))).await;
        let slot = Arc::new(slot);
        let reader = StreamReader { pieces: receiver, _slot: slot.clone() };
        let writer = StreamWriter { id, frames: self.frames.clone(), _slot: slot };
        // Nobody who looks at streams any more: the connection is about to end.
        let _ = self.new.send(Stream { headers, reader, writer }).await;
        Ok(())
    }

    async fn deliver(&mut self, id: u32, fin: bool, bytes: Bytes) {
        let Some(pieces) = self.open.get(&id) else { return };
        if !bytes.is_empty() && !pieces.is_closed() {
            let wanted = bytes.len() as u32;
            // What a stream's reader leaves unread when it goes gives its room back, so this never waits for nobody.
            let room = self.room.clone().acquire_many_owned(wanted).await.ok();
            let _ = pieces.send(Arrived::Piece(Piece { bytes, _room: room }));
        }
        if fin {
            let _ = pieces.send(Arrived::End);
        }
    }

    async fn send(&self, frame: Vec<u8>) {
        // The writing half ends the connection by itself where it fails.
        let _ = self.frames.send(frame).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// A client's SYN_STREAM without headers.
    fn syn(id: u32) -> Vec<u8> {
        let headers = header::none(id == 1);
        let mut frame = vec![0x80, 3, 0, 1, 0, 0, 0, (10 + headers.len()) as u8];
        frame.extend_from_slice(&id.to_be_bytes());
        frame.extend_from_slice(&[0; 6]);
        frame.extend_from_slice(&headers);
        frame
    }

    async fn read_frame(io: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, Vec<u8>) {
        let mut head = [0; 8];
        io.read_exact(&mut head).await.unwrap();
        let mut body = vec![0; u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize];
        io.read_exact(&mut body).await.unwrap();
        (head.to_vec(), body)
    }

    #[tokio::test]
    async fn a_stream_is_accepted_and_carries_data_both_ways_until_each_side_ends() {
        let (mut client, server) = duplex(1 << 16);
        let (mut streams, run) = open(server);
        let run = tokio::spawn(run);
        client.write_all(&syn(1)).await.unwrap();
        client.write_all(&frame::data(1, b"ping", true)).await.unwrap();
        let mut stream = streams.recv().await.unwrap();
        assert_eq!(read_frame(&mut client).await.0[..4], [0x80, 3, 0, 2]);
        assert_eq!(stream.reader.next().await, Input::Data(Bytes::from_static(b"ping")));
        assert_eq!(stream.reader.next().await, Input::End);
        stream.writer.write(b"pong").await.unwrap();
        stream.writer.finish().await.unwrap();
        assert_eq!(read_frame(&mut client).await, (vec![0, 0, 0, 1, 0, 0, 0, 4], b"pong".to_vec()));
        assert_eq!(read_frame(&mut client).await.0, [0, 0, 0, 1, 1, 0, 0, 0]);
        client.write_all(&frame::rst_stream(1, Reset::Cancel)).await.unwrap();
        assert_eq!(stream.reader.next().await, Input::Gone);
        client.write_all(&frame::ping(9)).await.unwrap();
        assert_eq!(read_frame(&mut client).await.1, [0, 0, 0, 9]);
        drop(client);
        run.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_is_not_read_from_is_held_up_and_goes_on_afterwards() {
        let (mut client, server) = duplex(1 << 12);
        let (mut streams, run) = open(server);
        tokio::spawn(run);
        client.write_all(&syn(1)).await.unwrap();
        let mut stream = streams.recv().await.unwrap();
        let total = 2 * UNREAD_BYTES_MAX;
        let writing = tokio::spawn(async move {
            for _ in 0..total / 4096 {
                client.write_all(&frame::data(1, &[7; 4096], false)).await.unwrap();
            }
            client
        });
        let mut got = 0;
        while got < total {
            // Written on another task, which cannot be done before we are nearly through.
            assert!(got > UNREAD_BYTES_MAX / 2 || !writing.is_finished());
            let Input::Data(bytes) = stream.reader.next().await else { panic!("it ended at {got}") };
            got += bytes.len();
        }
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn streams_over_the_limit_are_refused_until_others_end() {
        let (mut client, server) = duplex(1 << 16);
        let (mut streams, run) = open(server);
        tokio::spawn(run);
        let mut held = Vec::new();
        for number in 0..STREAMS_MAX as u32 {
            client.write_all(&syn(2 * number + 1)).await.unwrap();
            held.push(streams.recv().await.unwrap());
            assert_eq!(read_frame(&mut client).await.0[3], 2, "accepted");
        }
        let next = 2 * STREAMS_MAX as u32 + 1;
        client.write_all(&syn(next)).await.unwrap();
        assert_eq!(read_frame(&mut client).await.0[3], 3, "refused");
        held.pop();
        client.write_all(&syn(next + 2)).await.unwrap();
        assert_eq!(read_frame(&mut client).await.0[3], 2, "accepted again");
        client.write_all(&syn(next)).await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "a number that was used ends the connection");
    }
}
