//! Terminals: libcontainer makes one inside the container and hands its master over through a socket.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::layout::ContainerDir;
use crate::protocol;
use crate::worker;

/// The master is sent before the worker answers: it is there or never comes.
const MASTER_WAIT_MS: u16 = 5_000;

/// The socket that waits for one master; gone when dropped.
pub(super) struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    pub fn open(dir: &ContainerDir) -> io::Result<Self> {
        let path = worker::tty_socket(dir);
        let _ = fs::remove_file(&path);
        Ok(Self { listener: UnixListener::bind(&path)?, path })
    }

    pub fn master(&self) -> io::Result<OwnedFd> {
        self.wait(self.listener.as_fd())?;
        let (stream, _) = self.listener.accept()?;
        self.wait(stream.as_fd())?;
        protocol::receive_fd(&stream)
    }

    fn wait(&self, fd: std::os::fd::BorrowedFd) -> io::Result<()> {
        match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(MASTER_WAIT_MS))? {
            0 => Err(io::Error::new(io::ErrorKind::TimedOut, "no terminal came")),
            _ => Ok(()),
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
