use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
            socket,
            sockopt::{ReceiveTimeout, SndBuf, SndBufForce},
        },
        time::{TimeVal, TimeValLike},
    },
};

use crate::{
    batch::{Batch, describe},
    error::Error,
};

const ERROR: u16 = 2;
const DONE: u16 = 3;
const SEND_BUFFER_BYTES_MIN: usize = 1 << 20;
const RECEIVE_BYTES: usize = 64 << 10;
const ANSWER_SECONDS_MAX: i64 = 10;
const READS_MAX: usize = 100_000;
const NETLINK_HEAD: usize = 16;
const NETFILTER_HEAD: usize = 4;

/// A netlink socket of one network namespace, for one batch or question at a time.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Of the namespace that this thread is in.
    pub fn open() -> Result<Self, Error> {
        let failed = |action| move |errno: Errno| Error::Socket { action, source: errno.into() };
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)
            .map_err(failed("open"))?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(failed("bind"))?;
        setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(ANSWER_SECONDS_MAX)).map_err(failed("set the timeout of"))?;
        Ok(Self { fd })
    }

    /// Of the namespace at this path, or of the process's own.
    pub fn open_in(netns: Option<&Path>) -> Result<Self, Error> {
        inside(netns, Self::open)?
    }

    /// Sends the batch; an error means that nothing of it holds.
    pub fn apply(&mut self, batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        self.send(batch.finish())
    }

    /// Has the kernel judge the batch, and holds nothing of it.
    pub(crate) fn rehearse(&mut self, batch: Batch) -> Result<(), Error> {
        self.send(batch.unfinished())
    }

    fn send(&mut self, (bytes, awaited): (Vec<u8>, u32)) -> Result<(), Error> {
        let failed = |action| move |errno: Errno| Error::Socket { action, source: errno.into() };
        // The kernel takes a message only if all of it fits into the buffer.
        let room = (bytes.len() * 2).max(SEND_BUFFER_BYTES_MIN);
        setsockopt(&self.fd, SndBufForce, &room)
            .or_else(|_| setsockopt(&self.fd, SndBuf, &room))
            .map_err(failed("set the buffer of"))?;
        self.drain();
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty()).map_err(failed("send to"))?;
        self.answer(&bytes, awaited)
    }

    /// Reads until the awaited message is answered; the first refusal counts.
    fn answer(&self, batch: &[u8], awaited: u32) -> Result<(), Error> {
        let mut refusal = None;
        let ended = self.receive(|message| {
            if message.kind != ERROR {
                return false;
            }
            let code = message.code();
            if code != 0 && refusal.is_none() {
                let source = io::Error::from_raw_os_error(-code);
                refusal = Some(Error::Refused { message: describe(batch, message.sequence), source });
            }
            // A refused batch start has no further answer.
            message.sequence == awaited || (message.sequence == 0 && code != 0)
        });
        match (refusal, ended) {
            // The transaction may fail before its last message is looked at.
            (Some(refusal), _) => Err(refusal),
            (None, Ok(true)) => Ok(()),
            (None, Ok(false)) => Err(Error::Answer { message: describe(batch, awaited) }),
            (None, Err(error)) => Err(error),
        }
    }

    /// Forgets what is left of earlier answers.
    fn drain(&self) {
        let mut buffer = [0; NETLINK_HEAD];
        while recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
    }

    /// Sends one question and gives each message of the answer, with what lies behind nfnetlink's head, to `take`.
    pub(crate) fn ask(&mut self, what: &str, request: &[u8], mut take: impl FnMut(u16, &[u8])) -> Result<(), Error> {
        let failed = |action| move |errno: Errno| Error::Socket { action, source: errno.into() };
        self.drain();
        send(self.fd.as_raw_fd(), request, MsgFlags::empty()).map_err(failed("send to"))?;
        let mut code = 0;
        let ended = self.receive(|message| match message.kind {
            ERROR | DONE => {
                code = message.code();
                true
            }
            kind => {
                take(kind, message.body.get(NETFILTER_HEAD..).unwrap_or_default());
                false
            }
        })?;
        match (ended, code) {
            (false, _) => Err(Error::Answer { message: what.into() }),
            (true, 0) => Ok(()),
            (true, code) => {
                Err(Error::Refused { message: what.into(), source: io::Error::from_raw_os_error(code.wrapping_neg()) })
            }
        }
    }

    /// Reads messages until one is the last; whether one was.
    fn receive(&self, mut is_last: impl FnMut(&Answer<'_>) -> bool) -> Result<bool, Error> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        for _ in 0..READS_MAX {
            let count = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())
                .map_err(|errno| Error::Socket { action: "hear from", source: errno.into() })?;
            let mut rest = &buffer[..count];
            while let Some(answer) = Answer::take(&mut rest) {
                if is_last(&answer) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Runs the work in another network namespace, on a thread that ends with it.
pub fn inside<T: Send>(netns: Option<&Path>, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let Some(path) = netns else { return Ok(work()) };
    let enter = || -> io::Result<()> { Ok(setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?) };
    std::thread::scope(|scope| {
        let run = || enter().map(|()| work()).map_err(|source| Error::Namespace { path: path.to_owned(), source });
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub(crate) struct Answer<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Takes the next message off the bytes, unless it is cut.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let head = bytes.first_chunk::<NETLINK_HEAD>()?;
        let length = usize::try_from(u32::from_ne_bytes([head[0], head[1], head[2], head[3]])).ok()?;
        let answer = Self {
            kind: u16::from_ne_bytes([head[4], head[5]]),
            sequence: u32::from_ne_bytes([head[8], head[9], head[10], head[11]]),
            body: bytes.get(NETLINK_HEAD..length)?,
        };
        *bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(answer)
    }

    /// Of an error, or of a list's end: 0 where all is well.
    fn code(&self) -> i32 {
        self.body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_answer_ends_the_reading() {
        for length in 0..20 {
            let mut rest = &vec![0xff; length][..];
            while Answer::take(&mut rest).is_some() {}
        }
    }
}
