//! What the agent and a shim say to each other over the shim's socket.
//!
//! A frame is `length: u32 little-endian | version: u8 | postcard`. File descriptors ride beside the first byte of the
//! frame they belong to. Shims outlive an upgrade of the agent: variants and fields are only ever added at the end,
//! and everything about a container that may grow lies in JSON files beside the shim instead.
#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::status::{ContainerState, Exit};

pub(crate) const VERSION: u8 = 1;
/// An exec's process is the largest thing in a frame: arguments and environment end at 2 MiB in the kernel too.
pub(crate) const FRAME_BYTES_MAX: usize = 4 << 20;
/// stdin, stdout, stderr.
const FDS_MAX: usize = 3;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Answered by `Created`. The bundle lies ready.
    Create {
        container: String,
    },
    Start {
        container: String,
    },
    Signal {
        container: String,
        signal: i32,
    },
    /// Forgets a container that has no process.
    Remove {
        container: String,
    },
    /// Answered by `Started`, and by `Ended` when the process ends; closing the connection kills it.
    /// Without a tty the descriptors of stdin, stdout and stderr come along; with one, the answer carries the master.
    Exec {
        container: String,
        process: String,
        tty: bool,
    },
    /// Answered by `Containers`.
    List,
    /// Answered by `Ended` frames: all ends so far, then each as it happens.
    Follow,
    /// Ends the shim, which must have no container left with a process.
    Quit,
    /// Hands over the write side of an open stdin, or its tty's master.
    Attach {
        container: String,
    },
    /// Shows the output to the pipes that come along, stdout's and stderr's or a terminal's alone, until they have all
    /// of it or the connection is closed. Shims before it close the connection.
    Watch {
        container: String,
    },
    /// Ends an open stdin, which a terminal is not.
    CloseStdin {
        container: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    Done,
    Failed { reason: String },
    NoContainer,
    Created { pid: u32 },
    Started { pid: u32 },
    Containers(Vec<(String, ContainerState)>),
    Ended { container: String, exit: Exit },
    ExecEnded { exit_code: i32 },
}

pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    if body.len() > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "frame too long"));
    }
    let mut frame = Vec::with_capacity(body.len() + 5);
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.push(VERSION);
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The length of the body that a head announces.
pub(crate) fn body_length(head: [u8; 5]) -> io::Result<usize> {
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if head[4] != VERSION {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("protocol version {} not known", head[4])));
    }
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
    }
    Ok(length)
}

pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    postcard::from_bytes(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Sends a frame, and descriptors with it.
pub(crate) fn send<T: Serialize>(stream: &mut UnixStream, message: &T, fds: &[RawFd]) -> io::Result<()> {
    let frame = encode(message)?;
    let rights = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage] = if fds.is_empty() { &[] } else { &rights };
    // Where a stream has a time limit, any signal ends the call, such as that of another child's end.
    let sent = loop {
        match sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&frame)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            sent => break sent?,
        }
    };
    stream.write_all(&frame[sent..])
}

/// Receives a frame and the descriptors that came with it; `None` at the end of the stream.
pub(crate) fn receive<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut head = [0; 5];
    let (got, fds) = receive_some(stream, &mut head)?;
    if got == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[got..])?;
    let mut body = vec![0; body_length(head)?];
    stream.read_exact(&mut body)?;
    Ok(Some((decode(&body)?, fds)))
}

fn receive_some(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; FDS_MAX]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = loop {
        match recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            message => break message?,
        }
    };
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just made these descriptors for this process, and nothing else knows them.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, fds))
}

/// Receives one descriptor with whatever bytes accompany it: libcontainer's way to hand a terminal over.
pub(crate) fn receive_fd(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut bytes = [0; 64];
    let (_, fds) = receive_some(stream, &mut bytes)?;
    fds.into_iter().next().ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no descriptor came"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::thread::JoinHandleExt;
    use std::time::Duration;

    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

    use super::*;

    #[test]
    fn a_signal_does_not_end_the_wait_for_an_answer() {
        extern "C" fn nothing(_: i32) {}
        let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler does nothing at all.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
        let (mut here, mut there) = UnixStream::pair().unwrap();
        here.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let waiting =
            std::thread::spawn(move || receive::<u32>(&mut here).map(|answer| answer.map(|(number, _)| number)));
        for _ in 0..50 {
            // SAFETY: a thread that has not been joined has its name still.
            unsafe { nix::libc::pthread_kill(waiting.as_pthread_t(), nix::libc::SIGUSR1) };
            std::thread::park_timeout(Duration::from_millis(1));
        }
        // Whoever waited no longer is gone.
        let sent = send(&mut there, &7u32, &[]);
        assert_eq!(waiting.join().unwrap().unwrap(), Some(7));
        sent.unwrap();
    }

    #[test]
    fn a_frame_of_another_version_or_too_long_is_refused() {
        assert!(body_length([1, 0, 0, 0, VERSION]).is_ok());
        assert!(body_length([1, 0, 0, 0, VERSION + 1]).is_err());
        assert!(body_length([0, 0, 0, 0xff, VERSION]).is_err());
    }

    #[test]
    fn descriptors_come_with_their_frame() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        send(&mut here, &Request::List, &[read.as_raw_fd(), write.as_raw_fd()]).unwrap();
        let (request, fds) = receive::<Request>(&mut there).unwrap().unwrap();
        assert!(matches!(request, Request::List));
        assert_eq!(fds.len(), 2);
        drop(here);
        assert!(receive::<Request>(&mut there).unwrap().is_none());
    }

    #[test]
    fn arbitrary_bytes_never_panic_the_decoder() {
        for seed in 0..2000u32 {
            let bytes: Vec<u8> =
                (0..seed % 40).map(|i| (seed.wrapping_mul(2654435761).rotate_left(i) >> 3) as u8).collect();
            let _ = decode::<Request>(&bytes);
            let _ = decode::<Response>(&bytes);
        }
    }
}
