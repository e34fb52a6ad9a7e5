//! What the kernel has: links, addresses and routes of the node's namespace, as far as the pod network cares.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressMessage, AddressScope},
        link::{InfoData, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage},
        route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteType},
    },
};

use control_api::Ipv4Range;

use crate::{
    netns::{failed, refused},
    network::Error,
};

pub(crate) type Mac = [u8; 6];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkState {
    pub name: String,
    pub mtu: u32,
    pub up: bool,
    /// An Ethernet-like link with a carrier, where neighbours are asked for by broadcast.
    pub lan: bool,
    pub mac: Option<Mac>,
    /// Identifier and port, where it is a VXLAN.
    pub vxlan: Option<(u32, u16)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressState {
    pub link: u32,
    pub address: Ipv4Addr,
    pub prefix_len: u8,
    /// Neither of the host alone nor of one link.
    pub global: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteState {
    pub destination: Ipv4Range,
    pub gateway: Option<Ipv4Addr>,
    pub link: u32,
    pub source: Option<Ipv4Addr>,
    pub mtu: Option<u32>,
    pub protocol: u8,
    pub metric: u32,
}

/// Of the unicast routes those of the main table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub links: BTreeMap<u32, LinkState>,
    pub addresses: Vec<AddressState>,
    pub routes: Vec<RouteState>,
    /// Of the overlay's link: whom each next hop is.
    pub neighbours: BTreeMap<Ipv4Addr, Mac>,
    /// Of the overlay's link: which machine each of them is behind.
    pub forwarding: BTreeMap<Mac, Ipv4Addr>,
}

impl State {
    pub fn link(&self, name: &str) -> Option<(u32, &LinkState)> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, link)| (*index, link))
    }

    pub fn holds(&self, link: u32, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|held| held.link == link && held.address == address)
    }
}

pub(crate) async fn load(node: &Handle, overlay: &str) -> Result<State, Error> {
    let mut state = State::default();
    let mut links = node.link().get().execute();
    while let Some(link) = links.try_next().await.map_err(refused("list links"))? {
        state.links.insert(link.header.index, link_state(&link));
    }
    let mut addresses = node.address().get().execute();
    while let Some(address) = addresses.try_next().await.map_err(refused("list addresses"))? {
        state.addresses.extend(address_state(&address));
    }
    let mut routes = node.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    while let Some(route) = routes.try_next().await.map_err(refused("list routes"))? {
        state.routes.extend(route_state(&route));
    }
    if let Some((index, _)) = state.link(overlay) {
        load_overlay(node, index, &mut state).await?;
    }
    Ok(state)
}

async fn load_overlay(node: &Handle, index: u32, state: &mut State) -> Result<(), Error> {
    for family in [AddressFamily::Inet, AddressFamily::Bridge] {
        let mut entries = node.neighbours().get().set_address_family(family).execute();
        while let Some(entry) = entries.try_next().await.map_err(refused("list neighbours"))? {
            let Some((mac, address)) = neighbour(&entry).filter(|_| entry.header.ifindex == index) else { continue };
            match family {
                AddressFamily::Inet => drop(state.neighbours.insert(address, mac)),
                _ => drop(state.forwarding.insert(mac, address)),
            }
        }
    }
    Ok(())
}

fn link_state(link: &LinkMessage) -> LinkState {
    let flags = link.header.flags;
    let shared = flags.contains(LinkFlags::Broadcast | LinkFlags::Up | LinkFlags::Running);
    let other = flags.intersects(LinkFlags::Loopback | LinkFlags::Pointopoint | LinkFlags::Noarp);
    let mut state = LinkState { up: flags.contains(LinkFlags::Up), lan: shared && !other, ..LinkState::default() };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => state.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => state.mtu = *mtu,
            LinkAttribute::Address(mac) => state.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::LinkInfo(infos) => state.vxlan = infos.iter().find_map(vxlan),
            _ => {}
        }
    }
    state
}

fn vxlan(info: &LinkInfo) -> Option<(u32, u16)> {
    let LinkInfo::Data(InfoData::Vxlan(data)) = info else { return None };
    let id = data.iter().find_map(|data| if let InfoVxlan::Id(id) = data { Some(*id) } else { None })?;
    let port = data.iter().find_map(|data| if let InfoVxlan::Port(port) = data { Some(*port) } else { None })?;
    Some((id, port))
}

fn address_state(message: &AddressMessage) -> Option<AddressState> {
    let local = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    };
    Some(AddressState {
        link: message.header.index,
        address: message.attributes.iter().find_map(local)?,
        prefix_len: message.header.prefix_len,
        global: message.header.scope == AddressScope::Universe,
    })
}

fn route_state(message: &RouteMessage) -> Option<RouteState> {
    if message.header.table != RouteHeader::RT_TABLE_MAIN || message.header.kind != RouteType::Unicast {
        return None;
    }
    let mut state = RouteState {
        destination: Ipv4Range::new(Ipv4Addr::UNSPECIFIED, 0),
        gateway: None,
        link: 0,
        source: None,
        mtu: None,
        protocol: message.header.protocol.into(),
        metric: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(base)) => {
                state.destination = Ipv4Range::new(*base, message.header.destination_prefix_length);
            }
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => state.gateway = Some(*gateway),
            RouteAttribute::PrefSource(RouteAddress::Inet(source)) => state.source = Some(*source),
            RouteAttribute::Oif(link) => state.link = *link,
            RouteAttribute::Priority(metric) => state.metric = *metric,
            RouteAttribute::Metrics(metrics) => state.mtu = metrics.iter().find_map(mtu),
            // Of several ways the first stands for all.
            RouteAttribute::MultiPath(hops) => state.link = hops.first().map_or(0, |hop| hop.interface_index),
            _ => {}
        }
    }
    Some(state)
}

fn mtu(metric: &RouteMetric) -> Option<u32> {
    if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None }
}

fn neighbour(message: &NeighbourMessage) -> Option<(Mac, Ipv4Addr)> {
    let mac = |attribute: &NeighbourAttribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(mac) => mac.as_slice().try_into().ok(),
        _ => None,
    };
    let address = |attribute: &NeighbourAttribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        // An entry of the forwarding table has no address family of its own.
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
            <[u8; 4]>::try_from(bytes.as_slice()).ok().map(Ipv4Addr::from)
        }
        _ => None,
    };
    Some((message.attributes.iter().find_map(mac)?, message.attributes.iter().find_map(address)?))
}

pub(crate) fn missing(what: &str) -> Error {
    failed(format!("find {what}"))(std::io::ErrorKind::NotFound.into())
}
