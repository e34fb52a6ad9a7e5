//! The streams of a container's own process: a terminal or a stdin that the shim lends, and outputs that it shows.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;

use super::exec::{Resizer, Terminal};
use super::{Inner, Result, refused, shim_client};
use crate::error::RuntimeError;
use crate::protocol::{Request, Response};

/// What is wanted of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachSpec {
    pub stdin: bool,
    /// The container has a terminal: what it says comes on stdout.
    pub tty: bool,
}

/// An attached container. Dropping it detaches, and changes nothing else.
pub struct AttachHandle {
    /// Present when asked for.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Ends with the container, or when this client takes nothing of it for too long.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// None with a tty.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    terminal: Option<Terminal>,
    /// The shim shows as long as this is open.
    _connection: UnixStream,
}

impl AttachHandle {
    /// What changes the terminal's size.
    pub fn resizer(&self) -> Resizer {
        Resizer::new(self.terminal.clone())
    }
}

/// What the blocking part leaves for the one that needs the reactor.
pub(super) struct Begun {
    connection: UnixStream,
    input: Option<OwnedFd>,
    outputs: Vec<OwnedFd>,
}

pub(super) fn begin(inner: &Inner, uid: &str, id: &str, spec: AttachSpec) -> Result<Begun> {
    let mut connection = shim_client::connect(inner, uid)?;
    let mut input = None;
    if spec.stdin || spec.tty {
        let request = Request::Attach { container: id.to_owned() };
        let (response, fds) = shim_client::exchange(&mut connection, uid, &request, &[])?;
        match (response, fds.into_iter().next()) {
            (Response::Done, Some(fd)) => input = Some(fd),
            (other, _) => return Err(refused("attach to", id, other)),
        }
    }
    let pipes = (0..if spec.tty { 1 } else { 2 })
        .map(|_| nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC))
        .collect::<nix::Result<Vec<_>>>()
        .map_err(|error| RuntimeError::Io { what: "make a pipe".into(), source: error.into() })?;
    let (outputs, theirs): (Vec<OwnedFd>, Vec<OwnedFd>) = pipes.into_iter().unzip();
    let raw: Vec<i32> = theirs.iter().map(AsRawFd::as_raw_fd).collect();
    let request = Request::Watch { container: id.to_owned() };
    match shim_client::exchange(&mut connection, uid, &request, &raw) {
        Ok((Response::Done, _)) => Ok(Begun { connection, input, outputs }),
        Ok((other, _)) => Err(refused("attach to", id, other)),
        // It answered a moment ago, and hung up at what it does not know.
        Err(RuntimeError::ShimGone { .. }) => Err(RuntimeError::OldShim { what: "be attached to" }),
        Err(error) => Err(error),
    }
}

pub(super) fn handle(begun: Begun, spec: AttachSpec) -> Result<AttachHandle> {
    build(begun, spec).map_err(|source| RuntimeError::Io { what: "take over a container's streams".into(), source })
}

fn build(begun: Begun, spec: AttachSpec) -> io::Result<AttachHandle> {
    let input = begun.input.map(Terminal::new).transpose()?;
    let mut outputs = begun.outputs.into_iter();
    let mut output = || -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>> {
        let Some(fd) = outputs.next() else { return Ok(None) };
        Ok(Some(Box::new(pipe::Receiver::from_owned_fd(fd)?)))
    };
    Ok(AttachHandle {
        stdin: input.clone().filter(|_| spec.stdin).map(|input| Box::new(input) as Box<dyn AsyncWrite + Send + Unpin>),
        stdout: output()?,
        stderr: output()?,
        terminal: input.filter(|_| spec.tty),
        _connection: begun.connection,
    })
}
