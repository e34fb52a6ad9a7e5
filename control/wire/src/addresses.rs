//! The addresses that this machine can be reached at, and notice of their changes: from the kernel, without polling.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of linux/rtnetlink.h.
const ADDRESS_GROUPS: u32 = 0x10 | 0x100;
/// One notice is about a hundred bytes; what they say is not read.
const NOTICE_BYTES_MAX: usize = 8192;
/// Links that agents make begin so, with 8 hex digits behind: what is reached there are pods.
const OWN_LINK_PREFIX: &str = "br";
const OWN_LINK_DIGITS: usize = 8;

/// Addresses of the real links that are up, IPv4 first.
pub fn of_this_machine() -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = nix::ifaddrs::getifaddrs()?
        .filter(|link| {
            link.flags.contains(InterfaceFlags::IFF_UP)
                && !link.flags.contains(InterfaceFlags::IFF_LOOPBACK)
                && !is_own(&link.interface_name)
        })
        .filter_map(|link| {
            let address = link.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .filter(|address| !is_link_local(address))
        .collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

fn is_own(link: &str) -> bool {
    let digits = link.strip_prefix(OWN_LINK_PREFIX).unwrap_or_default().as_bytes();
    digits.get(..OWN_LINK_DIGITS).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// [`of_this_machine`], now and after each change. The task behind it ends with the last receiver.
pub fn follow() -> io::Result<watch::Receiver<Vec<IpAddr>>> {
    #[allow(deprecated, reason = "its successor is unsafe; an OwnedFd is the same open descriptor for all its life")]
    let notices = AsyncFd::new(listen()?)?;
    let (sender, receiver) = watch::channel(of_this_machine()?);
    tokio::spawn(async move {
        loop {
            let ready = tokio::select! {
                ready = notices.readable() => ready,
                () = sender.closed() => return,
            };
            let Ok(mut ready) = ready else { return };
            drain(notices.get_ref());
            ready.clear_ready();
            match of_this_machine() {
                Ok(addresses) => drop(sender.send_if_modified(|old| {
                    let changed = *old != addresses;
                    *old = addresses;
                    changed
                })),
                Err(error) => tracing::warn!(%error, "this machine's addresses cannot be listed"),
            }
        }
    });
    Ok(receiver)
}

fn listen() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, ADDRESS_GROUPS))?;
    Ok(fd)
}

/// Reads what is there; a notice that was lost (`ENOBUFS`) is one too.
fn drain(fd: &OwnedFd) {
    let mut notice = [0; NOTICE_BYTES_MAX];
    while !matches!(recv(fd.as_raw_fd(), &mut notice, MsgFlags::empty()), Ok(0) | Err(nix::errno::Errno::EAGAIN)) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_agents_are_told_from_others() {
        assert!(is_own("br0a1b2c3dx") && is_own("br0a1b2c3d-12345"));
        assert!(!is_own("br0") && !is_own("eth0") && !is_own("bridge-lan0"));
    }
}
