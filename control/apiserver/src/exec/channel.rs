//! Channels in a WebSocket: a message's first byte says which stream the rest belongs to.

use std::time::Duration;

use control_api::stream::{ExecInput, ExecOutput};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{Wanted, ending};
use crate::node::ExecStreams;
use crate::tunnel;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5: the next byte names a channel that ends.
const CLOSE: u8 = 255;

/// Before this nothing is said. kubectl from 1.31 on, and what else is built on its client-go, throws away what comes before
/// it has made its streams, which it begins with when the connection is its own; newer ones wait for that by themselves.
const SETTLE: Duration = Duration::from_millis(50);
/// How long the client may take to answer the goodbye.
const LINGER: Duration = Duration::from_secs(60);

/// Carries both directions until the process ends or the client leaves.
pub async fn join<S>(io: S, streams: ExecStreams, wanted: Wanted)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sink, source) = tunnel::socket(io).await.split();
    let ExecStreams { input, output } = streams;
    let reading = async {
        read(source, input, wanted.stdin).await;
    };
    let mut reading = std::pin::pin!(reading);
    tokio::select! {
        () = write(sink, output) => {}
        () = &mut reading => return,
    }
    // What the client still sends is read: unread, it would make of the connection's end a reset, which takes along what
    // the client has not read yet.
    let _left = tokio::time::timeout(LINGER, reading).await;
}

/// Client to process; returns when the client leaves. The end of stdin alone does not end it.
async fn read<S>(mut source: SplitStream<WebSocketStream<S>>, input: mpsc::Sender<ExecInput>, with_stdin: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = source.next().await {
        let Message::Binary(data) = message else {
            if message.is_close() {
                return;
            }
            continue;
        };
        let sent = match data.split_first() {
            Some((&STDIN, data)) if with_stdin && !data.is_empty() => ExecInput::Stdin(data.to_vec()),
            Some((&CLOSE, [STDIN])) => ExecInput::CloseStdin,
            Some((&RESIZE, data)) => match ending::resize(data) {
                Some(resize) => resize,
                None => continue,
            },
            _ => continue,
        };
        // A process that no longer reads is ending: its output and exit code are still on the way.
        let _ending = input.send(sent).await;
    }
}

/// Process to client, ended by the status on the error channel.
async fn write<S>(mut sink: SplitSink<WebSocketStream<S>, Message>, mut output: mpsc::Receiver<ExecOutput>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ready = Instant::now() + SETTLE;
    loop {
        let (channel, data, last) = match output.recv().await {
            Some(ExecOutput::Stdout(data)) => (STDOUT, data, false),
            Some(ExecOutput::Stderr(data)) => (STDERR, data, false),
            Some(ExecOutput::Exited { code }) => (ERROR, ending::exited(code), true),
            Some(ExecOutput::Failed { message }) => (ERROR, ending::failed(&message), true),
            None => (ERROR, ending::failed("the node ended the stream"), true),
        };
        let mut message = Vec::with_capacity(data.len() + 1);
        message.push(channel);
        message.extend_from_slice(&data);
        tokio::time::sleep_until(ready).await;
        if sink.send(Message::Binary(message.into())).await.is_err() {
            return;
        }
        if last {
            break;
        }
    }
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    // The client may have gone already.
    let _gone = sink.send(Message::Close(Some(close))).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn a_client_has_a_moment_to_make_its_streams() {
        let (client, server) = duplex(1 << 12);
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        let (input, _inputs) = mpsc::channel(1);
        let (process, output) = mpsc::channel(2);
        process.send(ExecOutput::Stderr(b"failing".to_vec())).await.unwrap();
        process.send(ExecOutput::Exited { code: 0 }).await.unwrap();
        let wanted = Wanted { stdin: false, stdout: true, stderr: true, tty: false };
        let opened = Instant::now();
        tokio::spawn(join(server, ExecStreams { input, output }, wanted));
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(b"\x02failing".as_slice().into()));
        assert!(opened.elapsed() >= SETTLE);
        assert_eq!(client.next().await.unwrap().unwrap().into_data()[0], ERROR);
    }
}
