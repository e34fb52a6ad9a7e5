//! Finding a cluster on the LAN, by multicast DNS (RFC 6762) for `_bramble._udp.local`.
//!
//! A server answers, an agent asks from a port of its own (a "one-shot" query), so that neither is in the way of an
//! mDNS daemon on the machine. What is found is a hint: who answers still has to show the cluster's CA.
//!
//! Absent on purpose: multicast answers, announcements and caches, which browsers of services for people use; IPv6.

pub mod packet;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};
use std::os::fd::AsRawFd;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::Instant;

use self::packet::{Announcement, PACKET_BYTES_MAX};
use crate::addresses;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// Answers within [`ANSWERS_WINDOW`]; more questions than nodes ask stay unanswered.
const ANSWERS_MAX: usize = 40;
const ANSWERS_WINDOW: Duration = Duration::from_secs(1);
/// Clusters told apart in one search, and addresses of each.
const CLUSTERS_MAX: usize = 16;
const ADDRESSES_MAX: usize = 16;

/// One cluster that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// SHA-256 of the CA's public key, as the answer says; only a connection proves it.
    pub ca_hash: [u8; 32],
    /// `host:port`.
    pub addresses: Vec<String>,
}

/// Asks on every IPv4 link and listens for `wait`.
pub async fn search(wait: Duration) -> io::Result<Vec<Found>> {
    let mut searches = tokio::task::JoinSet::new();
    for address in addresses::of_this_machine()? {
        let IpAddr::V4(address) = address else { continue };
        // Bound to a link's address, the question leaves by that link.
        match UdpSocket::bind((address, 0)).await {
            Ok(socket) => drop(searches.spawn(ask(socket, wait))),
            Err(error) => tracing::debug!(%address, %error, "no search for a cluster from this address"),
        }
    }
    let mut clusters: BTreeMap<[u8; 32], Vec<String>> = BTreeMap::new();
    while let Some(found) = searches.join_next().await {
        for one in found.unwrap_or_default() {
            if clusters.len() >= CLUSTERS_MAX && !clusters.contains_key(&one.ca_hash) {
                continue;
            }
            let known = clusters.entry(one.ca_hash).or_default();
            for address in one.addresses {
                if known.len() < ADDRESSES_MAX && !known.contains(&address) {
                    known.push(address);
                }
            }
        }
    }
    Ok(clusters.into_iter().map(|(ca_hash, addresses)| Found { ca_hash, addresses }).collect())
}

async fn ask(socket: UdpSocket, wait: Duration) -> Vec<Found> {
    let end = Instant::now() + wait;
    let id = socket.local_addr().map_or(0, |address| address.port());
    let mut found = Vec::new();
    if let Err(error) = socket.send_to(&packet::question(id), (GROUP, PORT)).await {
        tracing::debug!(%error, "a search for a cluster was not sent");
        return found;
    }
    let mut buffer = [0; PACKET_BYTES_MAX];
    while let Ok(Ok((length, from))) = tokio::time::timeout_at(end, socket.recv_from(&mut buffer)).await {
        let Some(answer) = packet::read_answer(&buffer[..length], id) else { continue };
        let mut addresses: Vec<IpAddr> = answer.addresses;
        // The address that the answer came from is reachable from here.
        addresses.retain(|address| *address != from.ip());
        addresses.insert(0, from.ip());
        let addresses = addresses.iter().map(|address| SocketAddr::new(*address, answer.port).to_string()).collect();
        if found.len() < CLUSTERS_MAX {
            found.push(Found { ca_hash: answer.ca_hash, addresses });
        }
    }
    found
}

/// Answers for the cluster with this CA whose agents are served on `port`, on every link, until dropped.
pub async fn answer(ca_hash: [u8; 32], port: u16, mut machine: watch::Receiver<Vec<IpAddr>>) -> io::Result<()> {
    let socket = listen()?;
    let mut joined: Vec<Ipv4Addr> = Vec::new();
    let (mut window, mut answers) = (Instant::now(), 0);
    let mut buffer = [0; PACKET_BYTES_MAX];
    loop {
        let now: Vec<IpAddr> = machine.borrow_and_update().clone();
        follow(&socket, &now, &mut joined);
        let (length, from) = tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "a question on the LAN cannot be read");
                    continue;
                }
            },
            changed = machine.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
        };
        if window.elapsed() > ANSWERS_WINDOW {
            (window, answers) = (Instant::now(), 0);
        }
        let Some(question) = packet::read_question(&buffer[..length]).filter(|_| is_near(from.ip())) else { continue };
        if answers < ANSWERS_MAX {
            answers += 1;
            let announcement = Announcement { ca_hash, port, addresses: now };
            // Whoever asked asks again.
            let _ = socket.send_to(&packet::answer(&question, &announcement), from).await;
        }
    }
}

/// Whether an address is of a LAN: nobody else is answered, least of all one whose address somebody else wrote.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local() || address.is_loopback(),
        IpAddr::V6(_) => false,
    }
}

/// Beside an mDNS daemon, if there is one: both get what is sent to the group.
fn listen() -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT)))?;
    UdpSocket::from_std(std::net::UdpSocket::from(fd))
}

/// A member of the group on every link that the machine has now.
fn follow(socket: &UdpSocket, machine: &[IpAddr], joined: &mut Vec<Ipv4Addr>) {
    let now: Vec<Ipv4Addr> = machine
        .iter()
        .filter_map(|address| if let IpAddr::V4(address) = address { Some(*address) } else { None })
        .collect();
    for gone in joined.iter().filter(|address| !now.contains(address)) {
        // The kernel may have forgotten it with the address.
        let _ = socket.leave_multicast_v4(GROUP, *gone);
    }
    for new in now.iter().filter(|address| !joined.contains(address)) {
        if let Err(error) = socket.join_multicast_v4(GROUP, *new) {
            tracing::debug!(address = %new, %error, "no questions are heard on this link");
        }
    }
    *joined = now;
}
