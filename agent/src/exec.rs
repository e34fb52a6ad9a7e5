//! Logs and exec, as the server asks for them on a user's behalf.

use std::path::PathBuf;
use std::time::Duration;

use agent_pods::machine::Phase;
use agent_runtime::{ExecHandle, ExecSpec};
use agent_streams::LogReader;
use control_api::stream::{ExecInput, ExecOutput, ExecRequest, LogRequest};
use control_wire::{ExecPipe, LogSink};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Mutex, broadcast, mpsc, watch};

use crate::adapters::chain;
use crate::daemon::Node;

/// What is read of a process at a time.
const CHUNK_BYTES: usize = 32 << 10;
/// What a process has to end by itself when its client left.
const LEAVE_GRACE: Duration = Duration::from_secs(5);

pub fn log_folder(root: &std::path::Path, request: &LogRequest) -> PathBuf {
    let pod = format!("{}_{}_{}", request.namespace, request.pod, request.pod_uid);
    root.join(pod).join(&request.container)
}

/// The id of the running container of this name.
pub fn running(node: &Node, uid: &str, container: &str) -> Option<String> {
    let state = node.fleet.state(uid)?;
    let slot = state.slots.into_iter().find(|slot| slot.name == container)?;
    matches!(slot.phase, Phase::Running { .. }).then_some(slot.container_id).flatten()
}

pub async fn logs(node: Node, request: LogRequest, mut sink: LogSink) {
    let folder = log_folder(&node.config.layout.logs(), &request);
    let (uid, container, follow) = (request.pod_uid.clone(), request.container.clone(), request.follow);
    let reader = match LogReader::open(&folder, request) {
        Ok(reader) => reader,
        Err(error) => return drop(sink.fail(chain(&error)).await),
    };
    if sink.started().await.is_err() {
        return;
    }
    let mut ends = node.ends.subscribe();
    let first = running(&node, &uid, &container);
    let (alive_sender, alive) = watch::channel(first.is_some());
    let watcher = async {
        while follow && first.is_some() {
            match ends.recv().await {
                Ok(ended) if first.as_ref() != Some(&ended) => {}
                // So many ended at once that some were not heard of: look instead.
                Err(broadcast::error::RecvError::Lagged(_)) if running(&node, &uid, &container) == first => {}
                _ => break,
            }
        }
        let _ = alive_sender.send(false);
        std::future::pending::<()>().await;
    };
    let sink = std::sync::Arc::new(Mutex::new(sink));
    let piece = |bytes| {
        let sink = sink.clone();
        async move { sink.lock().await.send(bytes).await.is_ok() }
    };
    let ended = tokio::select! {
        ended = reader.run(alive, piece) => ended,
        () = watcher => Ok(()),
    };
    let Some(sink) = std::sync::Arc::into_inner(sink) else { return };
    let sink = sink.into_inner();
    // The reader may be gone; there is no one to tell that to.
    let _ = match ended {
        Ok(()) => sink.end().await,
        Err(error) => sink.fail(chain(&error)).await,
    };
}

pub async fn exec(node: Node, request: ExecRequest, pipe: ExecPipe) {
    let ExecPipe { input, output } = pipe;
    let last = match start(&node, &request).await {
        Ok(handle) => bridge(handle, input, &output).await,
        Err(message) => ExecOutput::Failed { message },
    };
    let _ = output.send(last).await;
}

async fn start(node: &Node, request: &ExecRequest) -> Result<ExecHandle, String> {
    let id = running(node, &request.pod_uid, &request.container);
    let id = id.ok_or_else(|| format!("container not found (\"{}\")", request.container))?;
    let spec =
        ExecSpec { args: request.command.clone(), tty: request.tty, stdin: request.stdin, ..ExecSpec::default() };
    node.runtime.exec(&request.pod_uid, &id, spec).await.map_err(|error| chain(&error))
}

/// Carries bytes both ways until the process has ended and all it wrote was sent, or the client is gone.
async fn bridge(
    mut handle: ExecHandle,
    input: mpsc::Receiver<ExecInput>,
    output: &mpsc::Sender<ExecOutput>,
) -> ExecOutput {
    let mut stdin = handle.stdin.take();
    let readers = [
        tokio::spawn(pump(handle.stdout.take(), output.clone(), ExecOutput::Stdout)),
        tokio::spawn(pump(handle.stderr.take(), output.clone(), ExecOutput::Stderr)),
    ];
    let resizer = handle.resizer();
    let resize = |columns, rows| {
        if let Err(error) = resizer.resize(columns, rows) {
            tracing::debug!(error = chain(&error), "a terminal is not resized");
        }
    };
    let code = tokio::select! {
        code = handle.wait() => Some(code),
        _fed = feed(input, &mut stdin, resize, false) => None,
        // A process that reads nothing must not hide that the client left.
        () = output.closed() => None,
    };
    for reader in readers {
        if code.is_none() {
            reader.abort();
        }
        let _ = reader.await;
    }
    match code {
        Some(Ok(code)) => ExecOutput::Exited { code },
        Some(Err(error)) => ExecOutput::Failed { message: chain(&error) },
        None => {
            drop((stdin, resizer));
            leave(handle).await;
            ExecOutput::Failed { message: "the client went away".to_owned() }
        }
    }
}

/// The process reads the end of its input, or its terminal hangs up; one that goes on all the same is killed.
async fn leave(mut handle: ExecHandle) {
    handle.hang_up();
    let _ended = tokio::time::timeout(LEAVE_GRACE, handle.wait()).await;
}

/// Gives a process what the client sends, until the client is gone or, with `until_closed`, its stdin ends.
pub async fn feed(
    mut input: mpsc::Receiver<ExecInput>,
    stdin: &mut Option<Box<dyn AsyncWrite + Send + Unpin>>,
    resize: impl Fn(u16, u16),
    until_closed: bool,
) {
    while let Some(message) = input.recv().await {
        match message {
            ExecInput::Stdin(bytes) => {
                if let Some(writer) = stdin
                    && writer.write_all(&bytes).await.is_err()
                {
                    *stdin = None;
                }
            }
            ExecInput::CloseStdin => {
                *stdin = None;
                if until_closed {
                    return;
                }
            }
            ExecInput::Resize { columns, rows } => resize(columns, rows),
        }
    }
}

pub async fn pump(
    from: Option<Box<dyn AsyncRead + Send + Unpin>>,
    output: mpsc::Sender<ExecOutput>,
    wrap: fn(Vec<u8>) -> ExecOutput,
) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; CHUNK_BYTES];
    // An error is how a terminal says that its last user is gone.
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        if output.send(wrap(chunk[..length].to_vec())).await.is_err() {
            return;
        }
    }
}
