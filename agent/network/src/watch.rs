//! Notices of changes in the node's namespace: links, addresses, routes, and rules of the packet filter.
//!
//! The content is not read: a notice says only that what the kernel has is to be compared again.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
        sockopt::RcvBuf,
    },
};
use tokio::{io::unix::AsyncFd, time::Instant};

/// Links, IPv4 addresses, IPv4 routes: bits of `RTMGRP_*`.
const ROUTE_GROUPS: u32 = 0x1 | 0x10 | 0x40;
/// `NFNLGRP_NFTABLES` is group 7.
const FILTER_GROUPS: u32 = 1 << (7 - 1);
const NOTICE_BYTES_MAX: usize = 32 << 10;
const BUFFER_BYTES: usize = 256 << 10;
/// Changes come in bunches.
const QUIET: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Sockets that belong to the namespace they were opened in.
pub(crate) struct Sockets {
    route: OwnedFd,
    filter: OwnedFd,
}

impl Sockets {
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            route: subscribe(SockProtocol::NetlinkRoute, ROUTE_GROUPS)?,
            filter: subscribe(SockProtocol::NetlinkNetFilter, FILTER_GROUPS)?,
        })
    }
}

fn subscribe(protocol: SockProtocol, groups: u32) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    setsockopt(&fd, RcvBuf, &BUFFER_BYTES)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

pub(crate) struct Watch {
    route: AsyncFd<OwnedFd>,
    filter: AsyncFd<OwnedFd>,
    tables: Vec<Vec<u8>>,
}

/// Where something changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    pub routes: bool,
    pub filter: bool,
}

impl Watch {
    /// `tables` are those of the packet filter that count.
    #[allow(unsafe_code, reason = "a registered descriptor has to stay open, as these do")]
    pub fn new(sockets: Sockets, tables: &[String]) -> io::Result<Self> {
        // SAFETY: the sockets are owned and never replaced, so they stay open for as long as they are registered.
        let (route, filter) = unsafe { (AsyncFd::register(sockets.route)?, AsyncFd::register(sockets.filter)?) };
        let tables = tables.iter().map(|table| [table.as_bytes(), &[0]].concat()).collect();
        Ok(Self { route, filter, tables })
    }

    /// Returns when something changed and it has been quiet since, or after a second of changes.
    pub async fn changed(&self) -> io::Result<Changed> {
        let mut changed = Changed::default();
        while changed == Changed::default() {
            self.notice(&mut changed).await?;
        }
        let end = Instant::now() + WAIT_MAX;
        loop {
            let quiet = (Instant::now() + QUIET).min(end);
            match tokio::time::timeout_at(quiet, self.notice(&mut changed)).await {
                Ok(noticed) => noticed?,
                Err(_) => return Ok(changed),
            }
            if Instant::now() >= end {
                return Ok(changed);
            }
        }
    }

    async fn notice(&self, changed: &mut Changed) -> io::Result<()> {
        tokio::select! {
            read = drain(&self.route, |_| true) => changed.routes |= read?,
            read = drain(&self.filter, |bytes| self.tables.iter().any(|table| holds(bytes, table))) => changed.filter |= read?,
        }
        Ok(())
    }
}

fn holds(bytes: &[u8], name: &[u8]) -> bool {
    bytes.windows(name.len()).any(|window| window == name)
}

/// Waits for notices; answers whether one of them counts.
async fn drain(socket: &AsyncFd<OwnedFd>, counts: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
    let mut ready = socket.readable().await?;
    let mut buffer = vec![0; NOTICE_BYTES_MAX];
    let mut counted = false;
    loop {
        match recv(ready.get_inner().as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(count) => counted |= counts(&buffer[..count]),
            // Notices that did not fit are lost, which is news as well.
            Err(Errno::ENOBUFS) => counted = true,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                ready.clear_ready();
                return Ok(counted);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
