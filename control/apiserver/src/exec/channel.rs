//! Channels in a WebSocket: a message's first byte says which stream the rest belongs to.

use control_api::stream::{ExecInput, ExecOutput};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::node::ExecStreams;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5: the next byte names a channel that ends.
const CLOSE: u8 = 255;

/// Carries both directions until the process ends or the client leaves.
pub async fn join<S>(socket: WebSocketStream<S>, streams: ExecStreams, with_stdin: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sink, source) = socket.split();
    let ExecStreams { input, output } = streams;
    let reading = async {
        read(source, input, with_stdin).await;
    };
    tokio::select! {
        () = write(sink, output) => {}
        () = reading => {}
    }
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
            Some((&RESIZE, data)) => match resize(data) {
                Some(resize) => resize,
                None => continue,
            },
            _ => continue,
        };
        // A process that no longer reads is ending: its output and exit code are still on the way.
        let _ending = input.send(sent).await;
    }
}

/// `{"Width":80,"Height":24}`.
fn resize(data: &[u8]) -> Option<ExecInput> {
    let size: Value = serde_json::from_slice(data).ok()?;
    let number = |name: &str| size[name].as_u64().and_then(|number| u16::try_from(number).ok());
    Some(ExecInput::Resize { columns: number("Width")?, rows: number("Height")? })
}

/// Process to client, ended by the status on the error channel.
async fn write<S>(mut sink: SplitSink<WebSocketStream<S>, Message>, mut output: mpsc::Receiver<ExecOutput>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let (channel, data, last) = match output.recv().await {
            Some(ExecOutput::Stdout(data)) => (STDOUT, data, false),
            Some(ExecOutput::Stderr(data)) => (STDERR, data, false),
            Some(ExecOutput::Exited { code }) => (ERROR, exited(code).to_string().into_bytes(), true),
            Some(ExecOutput::Failed { message }) => (ERROR, failed(&message).to_string().into_bytes(), true),
            None => (ERROR, failed("the node ended the stream").to_string().into_bytes(), true),
        };
        let mut message = Vec::with_capacity(data.len() + 1);
        message.push(channel);
        message.extend_from_slice(&data);
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

/// The status a process ends with.
fn exited(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: command terminated with exit code {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

fn failed(message: &str) -> Value {
    json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500})
}
