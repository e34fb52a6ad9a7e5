//! The local socket of a running agent: one word in, and `done` out when it is.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::daemon::Node;

/// Images were imported: pods that wait for one try at once.
pub const RETRY: &str = "retry";
pub const STOP: &str = "stop";
const DONE: &str = "done";
const WORD_BYTES_MAX: u64 = 64;
const WORD_SECONDS_MAX: Duration = Duration::from_secs(5);

/// Answered when every pod has ended; what comes with the answer is dropped once the asker has been told.
pub type StopRequest = oneshot::Sender<oneshot::Sender<()>>;

pub fn serve(path: &Path, node: Node, stop: mpsc::Sender<StopRequest>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // The lock on agent.pid says that no other agent listens there.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, node.clone(), stop.clone()));
        }
    });
    Ok(())
}

async fn answer(stream: UnixStream, node: Node, stop: mpsc::Sender<StopRequest>) {
    let mut word = String::new();
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(WORD_BYTES_MAX));
    let read = tokio::time::timeout(WORD_SECONDS_MAX, reader.read_line(&mut word)).await;
    if !matches!(read, Ok(Ok(1..))) {
        return;
    }
    let mut told = None;
    match word.trim() {
        RETRY => node.fleet.retry().await,
        STOP => {
            let (done, finished) = oneshot::channel();
            if stop.send(done).await.is_err() {
                return;
            }
            // Without an answer the pods have not all ended, and the asker must not be told so.
            let Ok(answer) = finished.await else { return };
            told = Some(answer);
        }
        other => {
            tracing::warn!(word = other, "an unknown word on the local socket");
            return;
        }
    }
    // An asker who has gone away needs no answer.
    let _ = writer.write_all(DONE.as_bytes()).await;
    let _ = writer.shutdown().await;
    drop(told);
}

/// Says `word` to a running agent and waits for the end; false where none runs.
pub async fn say(path: &Path, word: &str) -> io::Result<bool> {
    let mut stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    stream.write_all(format!("{word}\n").as_bytes()).await?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    match rest == DONE.as_bytes() {
        true => Ok(true),
        false => Err(io::Error::other("the agent ended before it was done")),
    }
}
