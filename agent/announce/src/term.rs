//! One term of announcing: from the first address to the last.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::announcer::{BEAT, Config, Error, NodeInfo, REPEATS, SILENT_AFTER, Shared};
use crate::arp::Request;
use crate::election::{Candidate, elect};
use crate::heartbeat::{ADDRESSES_MAX, HEARTBEAT_BYTES_MAX, Heartbeat, Seal};
use crate::link::{ArpSocket, Link};

/// Links that are listened on; a node with more has something else on its mind.
const LINKS_MAX: usize = 16;

/// What another node said last.
struct Heard {
    session: u64,
    sequence: u64,
    at: Instant,
    announces: BTreeSet<Ipv4Addr>,
}

pub(crate) struct Term<'a> {
    config: &'a Config,
    shared: Arc<Shared>,
    seal: Seal,
    session: u64,
    socket: UdpSocket,
    started: Instant,
    heard: HashMap<String, Heard>,
    links: Vec<Link>,
    /// Open on links with an address that this node announces.
    sockets: BTreeMap<String, ArpSocket>,
    /// Address, its link, and how often it is still to be told to everybody.
    announced: BTreeMap<Ipv4Addr, (String, u8)>,
}

enum Turn {
    Changed,
    Beat,
    Datagram(usize, SocketAddr),
    Arp(String, std::io::Result<Request>),
}

impl<'a> Term<'a> {
    pub async fn start(config: &'a Config, shared: Arc<Shared>, session: u64) -> Result<Self, Error> {
        let port = config.port;
        let socket = UdpSocket::bind(("0.0.0.0", port)).await.map_err(|source| Error::Listen { port, source })?;
        Ok(Self {
            config,
            shared,
            seal: Seal::new(&config.secret),
            session,
            socket,
            started: Instant::now(),
            heard: HashMap::new(),
            links: Link::all().map_err(Error::Links)?,
            sockets: BTreeMap::new(),
            announced: BTreeMap::new(),
        })
    }

    /// Until there is nothing to announce any more.
    pub async fn run(&mut self, sequence: &mut u64) -> Result<(), Error> {
        let mut next = Instant::now();
        let mut buffer = [0; HEARTBEAT_BYTES_MAX + 1];
        while !self.shared.told().model.is_empty() {
            let turn = {
                let mut requests: FuturesUnordered<_> = self
                    .sockets
                    .iter()
                    .map(|(name, socket)| async move { (name.clone(), socket.next().await) })
                    .collect();
                tokio::select! {
                    () = self.shared.changed.notified() => Turn::Changed,
                    () = tokio::time::sleep_until(next) => Turn::Beat,
                    Ok((length, from)) = self.socket.recv_from(&mut buffer) => Turn::Datagram(length, from),
                    Some((link, request)) = requests.next() => Turn::Arp(link, request),
                }
            };
            match turn {
                Turn::Changed => {
                    self.links = Link::all().map_err(Error::Links)?;
                    self.decide(sequence).await;
                }
                Turn::Beat => {
                    next = Instant::now() + BEAT;
                    self.repeat();
                    if !self.decide(sequence).await {
                        self.beat(sequence).await;
                    }
                }
                Turn::Datagram(length, from) => self.hear(&buffer[..length], from),
                Turn::Arp(link, Ok(request)) => self.answer(&link, &request),
                Turn::Arp(link, Err(error)) => {
                    // The link went away; it is opened again when it is back.
                    tracing::debug!(link, %error, "no ARP on this link any more");
                    self.sockets.remove(&link);
                    self.announced.retain(|_, (on, _)| *on != link);
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, datagram: &[u8], from: SocketAddr) {
        let Some(heartbeat) = self.seal.decode(datagram) else {
            tracing::debug!(%from, "a heartbeat that is none of this cluster's");
            return;
        };
        let known = self.shared.told().nodes.iter().any(|node| node.name == heartbeat.node);
        if !known || heartbeat.node == self.config.node_name {
            return;
        }
        let replayed = |heard: &Heard| {
            heartbeat.session < heard.session
                || (heartbeat.session == heard.session && heartbeat.sequence <= heard.sequence)
        };
        // A node whose clock went back at its last start counts as new once it was silent.
        if self.heard.get(&heartbeat.node).is_some_and(|heard| replayed(heard) && heard.at.elapsed() < SILENT_AFTER) {
            return;
        }
        let Heartbeat { node, session, sequence, announces } = heartbeat;
        let announces = announces.into_iter().collect();
        self.heard.insert(node, Heard { session, sequence, at: Instant::now(), announces });
    }

    fn answer(&self, link: &str, request: &Request) {
        if self.announced.get(&request.target).is_none_or(|(on, _)| on != link) {
            return;
        }
        if let Some(Err(error)) = self.sockets.get(link).map(|socket| socket.answer(request)) {
            tracing::debug!(link, %error, "an ARP request is not answered");
        }
    }

    /// The addresses that this node is to announce now, by link.
    fn mine(&self) -> BTreeMap<Ipv4Addr, String> {
        let told = self.shared.told();
        let own = self.config.node_name.as_str();
        let alone = told.nodes.iter().all(|node| node.name == own);
        if !alone && self.started.elapsed() < SILENT_AFTER {
            // Who announces already has to be heard first.
            return BTreeMap::new();
        }
        let alive = |node: &&NodeInfo| {
            node.name == own || self.heard.get(&node.name).is_some_and(|heard| heard.at.elapsed() < SILENT_AFTER)
        };
        let alive: Vec<&NodeInfo> = told.nodes.iter().filter(|node| !node.excluded).filter(alive).collect();
        let mut mine = BTreeMap::new();
        for address in told.model.all().into_iter().take(ADDRESSES_MAX) {
            let Some(link) = self.links.iter().find(|link| link.reaches(address)) else { continue };
            let on_lan = |node: &&&NodeInfo| node.name == own || node.addresses.iter().any(|ip| link.reaches(*ip));
            let able = alive.iter().filter(on_lan).filter(|node| told.model.can_serve(address, &node.name));
            let candidates: Vec<Candidate<'_>> = able
                .map(|node| {
                    let announces = match node.name == own {
                        true => self.announced.contains_key(&address),
                        false => self.heard.get(&node.name).is_some_and(|heard| heard.announces.contains(&address)),
                    };
                    Candidate { name: &node.name, announces }
                })
                .collect();
            if elect(address, &candidates) == Some(own) {
                mine.insert(address, link.name.clone());
            }
        }
        mine
    }

    /// Elects and changes what is announced; whether anything changed. Others are told at once.
    async fn decide(&mut self, sequence: &mut u64) -> bool {
        let mine = self.mine();
        let same = mine.len() == self.announced.len()
            && mine.iter().all(|(address, link)| self.announced.get(address).is_some_and(|(on, _)| on == link));
        if same {
            return false;
        }
        self.announced.retain(|address, (on, _)| {
            let stays = mine.get(address) == Some(on);
            if !stays {
                tracing::info!(%address, "announced by another node from now on");
            }
            stays
        });
        for (address, link) in mine {
            if self.announced.contains_key(&address) {
                continue;
            }
            if let Err(error) = self.open(&link) {
                tracing::warn!(%address, link, %error, "cannot announce on this link");
                continue;
            }
            tracing::info!(%address, link, "announced by this node");
            self.tell(&link, address);
            self.announced.insert(address, (link, REPEATS));
        }
        let used: BTreeSet<&String> = self.announced.values().map(|(link, _)| link).collect();
        self.sockets.retain(|link, _| used.contains(link));
        self.shared.set_announced(self.announced.keys().copied().collect());
        self.beat(sequence).await;
        true
    }

    fn open(&mut self, link: &str) -> std::io::Result<()> {
        let found = self.links.iter().find(|known| known.name == link);
        if let (false, Some(found), true) = (self.sockets.contains_key(link), found, self.sockets.len() < LINKS_MAX) {
            self.sockets.insert(link.to_owned(), ArpSocket::open(found)?);
        }
        Ok(())
    }

    /// Tells everybody once more of what was taken over lately.
    fn repeat(&mut self) {
        let again: Vec<(Ipv4Addr, String)> = self
            .announced
            .iter_mut()
            .filter(|(_, (_, repeats))| *repeats > 0)
            .map(|(address, (link, repeats))| {
                *repeats -= 1;
                (*address, link.clone())
            })
            .collect();
        for (address, link) in again {
            self.tell(&link, address);
        }
    }

    fn tell(&self, link: &str, address: Ipv4Addr) {
        if let Some(Err(error)) = self.sockets.get(link).map(|socket| socket.announce(address)) {
            tracing::debug!(%address, link, %error, "the LAN was not told");
        }
    }

    /// One heartbeat to every other node on our LANs.
    async fn beat(&self, sequence: &mut u64) {
        *sequence += 1;
        let announces = self.announced.keys().copied().take(ADDRESSES_MAX).collect();
        let node = self.config.node_name.clone();
        let bytes = self.seal.encode(&Heartbeat { node, session: self.session, sequence: *sequence, announces });
        let targets: Vec<Ipv4Addr> = {
            let told = self.shared.told();
            let others = told.nodes.iter().filter(|node| node.name != self.config.node_name);
            let addresses = others.flat_map(|node| node.addresses.iter().copied());
            addresses.filter(|address| self.links.iter().any(|link| link.reaches(*address))).collect()
        };
        for target in targets {
            // A node that is away cannot be told anything.
            let _ = self.socket.send_to(&bytes, (target, self.config.port)).await;
        }
    }
}
