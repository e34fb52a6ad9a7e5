//! A process over SPDY, in the protocol v4.channel.k8s.io: one stream each for its inputs and outputs, named by the
//! header `streamtype`, and one for how it ends.

use std::time::Duration;

use control_api::stream::{ExecInput, ExecOutput};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::{Wanted, ending};
use crate::node::ExecStreams;
use crate::spdy::{self, Input, Stream, StreamReader, StreamWriter};

/// As long as a kubelet waits for a client to open its streams.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// After the end the client closes, once it has read everything. One that is closed before loses what it has not read.
const LINGER: Duration = Duration::from_secs(600);
/// A size of a terminal is a line of JSON.
const RESIZE_BYTES_MAX: usize = 1 << 10;

/// Carries everything until the process has ended and the client has read it, or the client leaves.
pub async fn join<S: AsyncRead + AsyncWrite>(io: S, streams: ExecStreams, wanted: Wanted) {
    let (mut opened, run) = spdy::open(io);
    let mut run = std::pin::pin!(run);
    let carry = async {
        let set = tokio::time::timeout(OPEN_TIMEOUT, Set::gather(&mut opened, wanted)).await.ok().flatten();
        match set {
            Some(set) => set.carry(streams).await,
            None => tracing::debug!("a client did not open the streams of its exec"),
        }
    };
    tokio::select! {
        _left = &mut run => return,
        () = carry => {}
    }
    let _left = tokio::time::timeout(LINGER, run).await;
}

/// The streams of one process.
#[derive(Default)]
struct Set {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Set {
    /// Waits for all that is wanted; `None` where the client opens another one.
    async fn gather(opened: &mut mpsc::Receiver<Stream>, wanted: Wanted) -> Option<Self> {
        let mut set = Self::default();
        let all = [true, wanted.stdin, wanted.stdout, wanted.stderr, wanted.tty];
        for _ in 0..all.into_iter().filter(|one| *one).count() {
            let stream = opened.recv().await?;
            let slot = match stream.headers.text("streamtype") {
                "error" => &mut set.error,
                "stdin" if wanted.stdin => &mut set.stdin,
                "stdout" if wanted.stdout => &mut set.stdout,
                "stderr" if wanted.stderr => &mut set.stderr,
                "resize" if wanted.tty => &mut set.resize,
                _ => return None,
            };
            if slot.replace(stream).is_some() {
                return None;
            }
        }
        Some(set)
    }

    async fn carry(self, streams: ExecStreams) {
        let ExecStreams { input, output } = streams;
        // Without it a client that sends nothing would look like one that left.
        let _here = input.clone();
        let inputs = async {
            let stdin = stdin(self.stdin.map(|stream| stream.reader), input.clone());
            let sizes = sizes(self.resize.map(|stream| stream.reader), input);
            tokio::join!(stdin, sizes);
            // Their ends do not end the process.
            std::future::pending::<()>().await;
        };
        let writer = |stream: Option<Stream>| stream.map(|stream| stream.writer);
        tokio::select! {
            () = inputs => {}
            () = outputs(output, [writer(self.stdout), writer(self.stderr)], writer(self.error)) => {}
        }
    }
}

async fn stdin(stream: Option<StreamReader>, input: mpsc::Sender<ExecInput>) {
    let Some(mut stream) = stream else { return };
    while let Input::Data(bytes) = stream.next().await {
        // A process that no longer reads is ending: its output and exit code are still on the way.
        let _ending = input.send(ExecInput::Stdin(bytes.to_vec())).await;
    }
    let _ending = input.send(ExecInput::CloseStdin).await;
}

/// Lines of JSON, which may come in parts.
async fn sizes(stream: Option<StreamReader>, input: mpsc::Sender<ExecInput>) {
    let Some(mut stream) = stream else { return };
    let mut line = Vec::new();
    while let Input::Data(bytes) = stream.next().await {
        for byte in bytes {
            if byte != b'\n' {
                line.push(byte);
                if line.len() > RESIZE_BYTES_MAX {
                    return;
                }
                continue;
            }
            if let Some(size) = ending::resize(&line) {
                let _ending = input.send(size).await;
            }
            line.clear();
        }
    }
}

/// What the process writes, then the end of each stream, with the status on its own.
async fn outputs(
    mut output: mpsc::Receiver<ExecOutput>,
    [stdout, stderr]: [Option<StreamWriter>; 2],
    error: Option<StreamWriter>,
) {
    let status = loop {
        let (writer, data) = match output.recv().await {
            Some(ExecOutput::Stdout(data)) => (&stdout, data),
            Some(ExecOutput::Stderr(data)) => (&stderr, data),
            Some(ExecOutput::Exited { code }) => break ending::exited(code),
            Some(ExecOutput::Failed { message }) => break ending::failed(&message),
            None => break ending::failed("the node ended the stream"),
        };
        if let Some(writer) = writer
            && writer.write(&data).await.is_err()
        {
            return;
        }
    };
    if let Some(error) = &error {
        let _gone = error.write(&status).await;
    }
    for writer in [&stdout, &stderr, &error].into_iter().flatten() {
        let _gone = writer.finish().await;
    }
}
