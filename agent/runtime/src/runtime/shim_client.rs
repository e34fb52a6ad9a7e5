//! One question to a pod's shim and its answer.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Inner, Result};
use crate::error::RuntimeError;
use crate::protocol::{Request, Response, receive, send};

/// Longer than the shim gives a worker.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

pub(super) fn connect(inner: &Inner, uid: &str) -> Result<UnixStream> {
    let gone = |_: io::Error| RuntimeError::ShimGone { uid: uid.to_owned() };
    let stream = UnixStream::connect(inner.dir(uid).socket()).map_err(gone)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(gone)?;
    stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(gone)?;
    Ok(stream)
}

pub(super) fn ask(inner: &Inner, uid: &str, request: &Request) -> Result<Response> {
    let mut stream = connect(inner, uid)?;
    let answer = exchange(&mut stream, uid, request, &[]);
    answer.map(|(response, _)| response).map_err(|error| {
        // It may have been killed while it was asked.
        connect(inner, uid).err().unwrap_or(error)
    })
}

pub(super) fn exchange(
    stream: &mut UnixStream,
    uid: &str,
    request: &Request,
    fds: &[RawFd],
) -> Result<(Response, Vec<OwnedFd>)> {
    let failed = |source| RuntimeError::Io { what: format!("ask the shim of pod {uid}"), source };
    send(stream, request, fds).map_err(failed)?;
    match receive(stream).map_err(failed)? {
        Some(answer) => Ok(answer),
        None => Err(RuntimeError::ShimGone { uid: uid.to_owned() }),
    }
}
