//! A process in a running container. Its data goes through pipes or a terminal that this process holds itself: the
//! shim only passes descriptors.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use super::{Inner, Result, refused, shim_client};
use crate::error::RuntimeError;
use crate::layout::load;
use crate::oci;
use crate::protocol::{Request, Response, body_length, decode};
use crate::spec::ExecSpec;

/// A process started by `Runtime::exec`. Dropping it kills the process.
pub struct ExecHandle {
    /// Present when asked for. With a tty it is the terminal; dropping it does not hang the terminal up.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// With a tty this is the terminal, and `stderr` is `None`.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    terminal: Option<Terminal>,
    connection: tokio::net::UnixStream,
}

impl ExecHandle {
    /// What changes the terminal's size while the end is waited for.
    pub fn resizer(&self) -> Resizer {
        Resizer::new(self.terminal.clone())
    }

    /// Closes all streams: who still reads or writes a pipe learns of it, and the kernel hangs a terminal up, once what
    /// was taken out of this handle is dropped too.
    pub fn hang_up(&mut self) {
        (self.stdin, self.stdout, self.stderr, self.terminal) = (None, None, None, None);
    }

    /// Waits for the end of the process: its exit status, or 128 + the signal.
    pub async fn wait(&mut self) -> Result<i32> {
        self.read_end().await.map_err(|source| RuntimeError::Io { what: "wait for an exec".into(), source })
    }

    async fn read_end(&mut self) -> io::Result<i32> {
        let mut head = [0; 5];
        self.connection.read_exact(&mut head).await?;
        let mut body = vec![0; body_length(head)?];
        self.connection.read_exact(&mut body).await?;
        match decode(&body)? {
            Response::ExecEnded { exit_code } => Ok(exit_code),
            other => Err(io::Error::other(format!("unexpected answer {other:?}"))),
        }
    }
}

/// The size of a terminal.
pub struct Resizer(Option<Terminal>);

impl Resizer {
    pub(super) fn new(terminal: Option<Terminal>) -> Self {
        Self(terminal)
    }

    /// Nothing without a tty.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |terminal| terminal.resize(columns, rows))
    }
}

/// What the blocking part leaves for the one that needs the reactor.
pub(super) struct Begun {
    connection: UnixStream,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    master: Option<OwnedFd>,
}

pub(super) fn begin(inner: &Inner, uid: &str, id: &str, spec: &ExecSpec) -> Result<Begun> {
    let missing = |_| RuntimeError::NoContainer { container: id.to_owned() };
    let config: serde_json::Value = load(&inner.dir(uid).container(id).config()).map_err(missing)?;
    let process = oci::exec_process(&config, spec).to_string();
    let request = Request::Exec { container: id.to_owned(), process, tty: spec.tty };
    let mut connection = shim_client::connect(inner, uid)?;
    let pipe = || {
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
            .map_err(|error| RuntimeError::Io { what: "make a pipe".into(), source: error.into() })
    };
    let mut begun = None;
    let (response, fds) = if spec.tty {
        shim_client::exchange(&mut connection, uid, &request, &[])?
    } else {
        let (stdin_theirs, stdin) = pipe()?;
        let (stdout, stdout_theirs) = pipe()?;
        let (stderr, stderr_theirs) = pipe()?;
        let theirs = [stdin_theirs.as_raw_fd(), stdout_theirs.as_raw_fd(), stderr_theirs.as_raw_fd()];
        begun = Some((stdin, stdout, stderr));
        shim_client::exchange(&mut connection, uid, &request, &theirs)?
    };
    let Response::Started { .. } = response else { return Err(refused("exec in", id, response)) };
    let master = fds.into_iter().next();
    Ok(match begun {
        // A stdin that nobody asked for is closed here: the process reads its end.
        Some((stdin, stdout, stderr)) => Begun {
            connection,
            stdin: spec.stdin.then_some(stdin),
            stdout: Some(stdout),
            stderr: Some(stderr),
            master: None,
        },
        None => Begun { connection, stdin: None, stdout: None, stderr: None, master },
    })
}

pub(super) fn handle(begun: Begun) -> Result<ExecHandle> {
    build(begun).map_err(|source| RuntimeError::Io { what: "take over an exec's streams".into(), source })
}

fn build(begun: Begun) -> io::Result<ExecHandle> {
    begun.connection.set_nonblocking(true)?;
    let connection = tokio::net::UnixStream::from_std(begun.connection)?;
    let mut handle = ExecHandle { stdin: None, stdout: None, stderr: None, terminal: None, connection };
    if let Some(master) = begun.master {
        let terminal = Terminal::new(master)?;
        handle.stdin = Some(Box::new(terminal.clone()));
        handle.stdout = Some(Box::new(terminal.clone()));
        handle.terminal = Some(terminal);
        return Ok(handle);
    }
    if let Some(fd) = begun.stdin {
        handle.stdin = Some(Box::new(pipe::Sender::from_owned_fd(fd)?));
    }
    if let Some(fd) = begun.stdout {
        handle.stdout = Some(Box::new(pipe::Receiver::from_owned_fd(fd)?));
    }
    if let Some(fd) = begun.stderr {
        handle.stderr = Some(Box::new(pipe::Receiver::from_owned_fd(fd)?));
    }
    Ok(handle)
}

/// A descriptor, a pseudoterminal's master usually, as a stream both ways.
#[derive(Clone)]
pub(crate) struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    pub(crate) fn new(master: OwnedFd) -> io::Result<Self> {
        let flags = nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_GETFL)?;
        let flags = nix::fcntl::OFlag::from_bits_truncate(flags) | nix::fcntl::OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(flags))?;
        // SAFETY: the descriptor is owned by what is registered, which never gives another one.
        Ok(Self(Arc::new(unsafe { AsyncFd::register(master) }?)))
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open, and the size lives until the call returns.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        if done < 0 {
            return Err(RuntimeError::Io { what: "resize a terminal".into(), source: io::Error::last_os_error() });
        }
        Ok(())
    }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let space = buffer.initialize_unfilled();
            match guard.try_io(|fd| nix::unistd::read(fd.get_ref().as_fd(), space).map_err(io::Error::from)) {
                Ok(Ok(got)) => {
                    buffer.advance(got);
                    return Poll::Ready(Ok(()));
                }
                // The last holder of the other side is gone: the end.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(result) =
                guard.try_io(|fd| nix::unistd::write(fd.get_ref().as_fd(), bytes).map_err(io::Error::from))
            {
                return Poll::Ready(result);
            }
        }
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
