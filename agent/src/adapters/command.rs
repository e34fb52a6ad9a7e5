//! A command in a container, run to its end for a probe or a hook.

use std::time::Duration;

use agent_pods::ports::{ExecEnd, PortResult};
use agent_runtime::ExecHandle;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::told;

/// What is read at a time.
const CHUNK_BYTES: usize = 1024;
/// How long output is waited for after the command's end, which a child of it may hold open.
const DRAIN: Duration = Duration::from_millis(250);

type Stream = Option<Box<dyn AsyncRead + Send + Unpin>>;

/// Dropping the handle kills the command, also when this future is dropped.
pub async fn run(mut handle: ExecHandle, timeout: Option<Duration>, output_bytes_max: usize) -> PortResult<ExecEnd> {
    let mut output = Vec::new();
    let gather = gather(handle.stdout.take(), handle.stderr.take(), output_bytes_max, &mut output);
    let ended = async {
        tokio::pin!(gather);
        tokio::select! {
            code = handle.wait() => {
                let _ = tokio::time::timeout(DRAIN, gather).await;
                code
            }
            () = &mut gather => handle.wait().await,
        }
    };
    let code = match timeout {
        Some(limit) => match tokio::time::timeout(limit, ended).await {
            Ok(code) => code,
            Err(_) => return Ok(ExecEnd::TimedOut),
        },
        None => ended.await,
    };
    Ok(ExecEnd::Exited { code: code.map_err(told)?, output })
}

/// Reads both to their ends and keeps the beginning.
async fn gather(mut stdout: Stream, mut stderr: Stream, bytes_max: usize, output: &mut Vec<u8>) {
    let (mut out, mut err) = ([0; CHUNK_BYTES], [0; CHUNK_BYTES]);
    while stdout.is_some() || stderr.is_some() {
        let (chunk, stream, read) = tokio::select! {
            read = read(&mut stdout, &mut out), if stdout.is_some() => (&out, &mut stdout, read),
            read = read(&mut stderr, &mut err), if stderr.is_some() => (&err, &mut stderr, read),
        };
        if read == 0 {
            *stream = None;
        }
        let room = bytes_max.saturating_sub(output.len());
        output.extend_from_slice(&chunk[..read.min(room)]);
    }
}

/// Zero at the end, which an error is too.
async fn read(stream: &mut Stream, chunk: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(chunk).await.unwrap_or(0),
        None => 0,
    }
}
