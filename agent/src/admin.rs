//! The local socket of a running agent: one word in, and the end of the connection when it is done.

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
const WORD_BYTES_MAX: u64 = 64;
const WORD_SECONDS_MAX: Duration = Duration::from_secs(5);

pub fn serve(path: &Path, node: Node, stop: mpsc::Sender<oneshot::Sender<()>>) -> io::Result<()> {
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

async fn answer(stream: UnixStream, node: Node, stop: mpsc::Sender<oneshot::Sender<()>>) {
    let mut word = String::new();
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(WORD_BYTES_MAX));
    let read = tokio::time::timeout(WORD_SECONDS_MAX, reader.read_line(&mut word)).await;
    if !matches!(read, Ok(Ok(1..))) {
        return;
    }
    match word.trim() {
        RETRY => node.fleet.retry().await,
        STOP => {
            let (done, finished) = oneshot::channel();
            // The connection stays open until the sender is dropped: that is the answer.
            if stop.send(done).await.is_ok() {
                let _ = finished.await;
            }
        }
        other => tracing::warn!(word = other, "an unknown word on the local socket"),
    }
    let _ = writer.shutdown().await;
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
    Ok(true)
}
