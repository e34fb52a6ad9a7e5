//! TCP: each message behind its length; several may be under way, and answers come as they are ready (RFC 7766).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::respond::{Responder, Step, Transport};

/// More are closed at once.
const CONNECTIONS_MAX: usize = 128;
/// Queries of one connection under way; with more it is not read.
const PIPELINED_MAX: usize = 32;
/// A query is a name and little else.
const QUERY_BYTES_MAX: usize = 4096;
const IDLE_TIME_MAX: Duration = Duration::from_secs(10);
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);
/// After an error of accepting, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn serve(responder: Arc<Responder>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) if connections.len() < CONNECTIONS_MAX => {
                connections.spawn(converse(responder.clone(), stream));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a DNS connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Until the client closes, says nothing for a while, or says nonsense.
async fn converse(responder: Arc<Responder>, stream: TcpStream) {
    // Answers are small and each is written at once.
    let _no_matter = stream.set_nodelay(true);
    let (mut reading, writing) = stream.into_split();
    let writing = Arc::new(Mutex::new(writing));
    let room = Arc::new(Semaphore::new(PIPELINED_MAX));
    let mut waiting = JoinSet::new();
    loop {
        while waiting.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else { break };
        let Ok(Ok(message)) = timeout(IDLE_TIME_MAX, read(&mut reading)).await else { break };
        match responder.respond(&message, Transport::Tcp) {
            Step::Silence => break,
            Step::Answer(answer) => {
                if write(&writing, &answer).await.is_err() {
                    return;
                }
            }
            Step::Ask(pending) => {
                let (responder, writing) = (responder.clone(), writing.clone());
                waiting.spawn(async move {
                    let answer = responder.ask(&pending).await;
                    let _gone = write(&writing, &answer).await;
                    drop(permit);
                });
            }
        }
    }
    // A client may close its side after its last query and still wait for the answers.
    while waiting.join_next().await.is_some() {}
}

async fn read(stream: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > QUERY_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(stream: &Mutex<OwnedWriteHalf>, message: &[u8]) -> io::Result<()> {
    let mut framed = u16::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    let mut stream = stream.lock().await;
    timeout(WRITE_TIME_MAX, stream.write_all(&framed)).await?
}
