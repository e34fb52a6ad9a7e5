//! Sockets: one task each for UDP and TCP of an address, a task for each connection and for each query that waits.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};

use crate::config::Error;

mod tcp;
mod udp;

pub(crate) use tcp::serve as serve_tcp;
pub(crate) use udp::serve as serve_udp;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Both sockets of an address. With port 0 both get the same one.
pub(crate) fn open(address: SocketAddr) -> Result<(UdpSocket, TcpListener), Error> {
    let open = || -> std::io::Result<_> {
        let udp = UdpSocket::from(bound(address, SockType::Datagram)?);
        let tcp = bound(SocketAddr::new(address.ip(), udp.local_addr()?.port()), SockType::Stream)?;
        listen(&tcp, Backlog::new(BACKLOG)?)?;
        Ok((udp, TcpListener::from(tcp)))
    };
    open().map_err(|source| Error::Listen { address, source })
}

fn bound(address: SocketAddr, kind: SockType) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    // The address is put on the loopback by another part of the agent, perhaps later.
    setsockopt(&fd, sockopt::IpFreebind, &true)?;
    if kind == SockType::Stream {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}
