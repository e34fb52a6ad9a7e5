//! The node's links on LANs, and the sockets that hear and answer ARP on one.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use control_api::Ipv4Range;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::arp::{ETHERTYPE, FRAME_BYTES, Mac, Request, gratuitous, parse, reply};

/// Frames longer than ARP's are padding.
const READ_BYTES: usize = 128;

/// A link that is up, with the ranges it reaches directly.
#[derive(Debug, Clone)]
pub struct Link {
    pub name: String,
    pub mac: Mac,
    address: LinkAddr,
    ranges: Vec<Ipv4Range>,
}

/// What the machine tells of one link: itself, and the ranges around its addresses.
type Found = (Option<LinkAddr>, Vec<Ipv4Range>);

impl Link {
    /// All of the node's, by name. Pods' links reach single addresses only and are none.
    pub fn all() -> io::Result<Vec<Self>> {
        let mut links: BTreeMap<String, Found> = BTreeMap::new();
        for entry in getifaddrs()? {
            if !entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_BROADCAST) {
                continue;
            }
            let link = links.entry(entry.interface_name).or_default();
            let Some(address) = entry.address else { continue };
            if let Some(address) = address.as_link_addr() {
                link.0 = Some(*address);
            } else if let (Some(address), Some(mask)) = (address.as_sockaddr_in(), entry.netmask)
                && let Some(mask) = mask.as_sockaddr_in()
                && mask.ip() != Ipv4Addr::BROADCAST
            {
                link.1.push(Ipv4Range::new(address.ip(), prefix_len(mask.ip())));
            }
        }
        let on_lan = |(name, (address, ranges)): (String, Found)| {
            let address = address?;
            let mac = address.addr()?;
            (!ranges.is_empty()).then_some(Self { name, mac, address, ranges })
        };
        Ok(links.into_iter().filter_map(on_lan).collect())
    }

    /// Whether `address` is on this LAN.
    pub fn reaches(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }
}

fn prefix_len(mask: Ipv4Addr) -> u8 {
    u8::try_from(u32::from(mask).leading_ones()).expect("a mask has 32 bits")
}

/// ARP on one link.
#[derive(Debug)]
pub struct ArpSocket {
    socket: AsyncFd<Socket>,
    mac: Mac,
}

impl ArpSocket {
    pub fn open(link: &Link) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ETHERTYPE.to_be()))))?;
        socket.set_nonblocking(true)?;
        // The protocol that the socket was made for stays: this only chooses the link.
        bind(socket.as_raw_fd(), &link.address)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe for types that may not own their descriptor; a Socket does"
        )]
        let socket = AsyncFd::new(socket)?;
        Ok(Self { socket, mac: link.mac })
    }

    /// The next request that somebody sent; other frames are passed over. Cancel-safe.
    pub async fn next(&self) -> io::Result<Request> {
        loop {
            let mut ready = self.socket.readable().await?;
            let mut frame = [0; READ_BYTES];
            match ready.try_io(|socket| io::Read::read(&mut socket.get_ref(), &mut frame)) {
                Ok(Ok(length)) => {
                    if let Some(request) = parse(&frame[..length]) {
                        return Ok(request);
                    }
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }

    pub fn answer(&self, request: &Request) -> io::Result<()> {
        self.send(&reply(request, self.mac))
    }

    /// Tells everybody where `address` is now.
    pub fn announce(&self, address: Ipv4Addr) -> io::Result<()> {
        gratuitous(address, self.mac).iter().try_for_each(|frame| self.send(frame))
    }

    fn send(&self, frame: &[u8; FRAME_BYTES]) -> io::Result<()> {
        self.socket.get_ref().send(frame).map(drop)
    }
}
