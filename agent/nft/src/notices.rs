use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, recv, socket,
    },
};

use crate::{
    attribute::{Attributes, as_text},
    batch::{MESSAGE_HEAD, SUBSYSTEM},
    error::Error,
    socket::inside,
};

/// The seventh group of listeners, as one of bits.
const GROUP: u32 = 1 << 6;
const RECEIVE_BYTES: usize = 64 << 10;
/// What is read at one go, before others get their turn.
const READS_MAX: usize = 1000;

/// Tells when tables change. Not told of is what a set's timeouts and packets do.
#[derive(Debug)]
pub struct Notices {
    fd: OwnedFd,
    port: u32,
}

impl Notices {
    /// Of the namespace at this path, or of the process's own.
    pub fn open_in(netns: Option<&Path>) -> Result<Self, Error> {
        inside(netns, || {
            let failed = |action| move |errno: Errno| Error::Socket { action, source: errno.into() };
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)
                .map_err(failed("open"))?;
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(failed("bind"))?;
            let address: NetlinkAddr = getsockname(fd.as_raw_fd()).map_err(failed("name"))?;
            let notices = Self { fd, port: address.pid() };
            notices.resume()?;
            Ok(notices)
        })?
    }

    /// Begins to listen again.
    pub fn resume(&self) -> Result<(), Error> {
        self.join(GROUP)
    }

    /// Stops listening while we change tables ourselves, and forgets what was not read.
    pub fn pause(&self) -> Result<(), Error> {
        self.join(0)?;
        self.read(|_| false);
        Ok(())
    }

    /// Reads what has come; whether any of it is about the table, or could have been. Never waits.
    pub fn about(&self, table: &str) -> bool {
        self.read(|named| named == table)
    }

    fn read(&self, wanted: impl Fn(&str) -> bool) -> bool {
        let mut buffer = vec![0; RECEIVE_BYTES];
        let mut found = false;
        for _ in 0..READS_MAX {
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(0) | Err(Errno::EAGAIN) => break,
                Ok(count) => found |= tables(&buffer[..count]).any(&wanted),
                // Notices were lost.
                Err(_) => found = true,
            }
        }
        found
    }

    /// Binding once more, by the same port, changes the groups alone.
    fn join(&self, groups: u32) -> Result<(), Error> {
        bind(self.fd.as_raw_fd(), &NetlinkAddr::new(self.port, groups))
            .map_err(|errno| Error::Socket { action: "listen on", source: errno.into() })
    }
}

impl AsFd for Notices {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Notices {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

/// The names of the tables that these messages are about.
pub(crate) fn tables(mut bytes: &[u8]) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        while let Some(head) = bytes.first_chunk::<MESSAGE_HEAD>() {
            let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let attributes = bytes.get(MESSAGE_HEAD..length)?;
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            let kind = u16::from_ne_bytes([head[4], head[5]]);
            // Everything but the end of a generation names its table first.
            if kind >> 8 == SUBSYSTEM
                && kind & 0xff != 15
                && let Some(table) = Attributes::find(attributes, 1)
            {
                return Some(as_text(table));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attribute::text, batch::message};

    #[test]
    fn a_notice_names_its_table_and_a_cut_one_none() {
        let mut bytes = Vec::new();
        message(&mut bytes, SUBSYSTEM << 8 | 14, 0, 1, (2, 0), |to| text(to, 1, "one"));
        let first = bytes.len();
        message(&mut bytes, SUBSYSTEM << 8 | 15, 0, 1, (0, 0), |to| text(to, 1, "generation"));
        message(&mut bytes, SUBSYSTEM << 8 | 2, 0, 1, (2, 0), |to| text(to, 1, "two"));
        assert_eq!(tables(&bytes).collect::<Vec<_>>(), ["one", "two"]);
        for length in 0..bytes.len() {
            let names: Vec<_> = tables(&bytes[..length]).collect();
            assert_eq!(names, if length < first { vec![] } else { vec!["one"] });
        }
    }
}
