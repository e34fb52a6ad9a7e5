//! Makes the kernel's routes and the overlay's link what the plan says.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use futures_util::TryStreamExt;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVxlan, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressMessage, AddressScope},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage},
        route::{RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope},
    },
};

use control_api::Ipv4Range;

use crate::{
    kernel::create_link,
    link::index_of,
    netns::{refused, sysctl},
    network::{Config, Error},
    plan::{Hop, Overlay, PROTOCOL, Plan, Route, metric, overlay_mac, overlay_name},
    pod_range,
    state::{Mac, RouteState, State, missing},
};

/// Addresses of the node's own, on its loopback link.
pub(crate) async fn locals(node: &Handle, state: &State, wanted: &BTreeSet<Ipv4Addr>) -> Result<(), Error> {
    let Some((lo, link)) = state.link("lo") else { return Err(missing("link lo")) };
    if !link.up {
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(lo).up().build();
        node.link().set(up).execute().await.map_err(refused("bring up link lo"))?;
    }
    for address in wanted.iter().filter(|address| !state.holds(lo, **address)) {
        let mut request = node.address().add(lo, IpAddr::V4(*address), 32).replace();
        // Nobody but this machine is to be told of it, and no other packet leaves with it as its source.
        request.message_mut().header.scope = AddressScope::Host;
        request.execute().await.map_err(refused(format!("give the address {address} to link lo")))?;
    }
    Ok(())
}

/// What `locals` added; a Service's address is known by its range.
pub(crate) async fn remove_locals(node: &Handle, config: &Config) -> Result<(), Error> {
    let Some(lo) = index_of(node, "lo").await? else { return Ok(()) };
    let ours = |message: &AddressMessage| {
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        });
        local.is_some_and(|local| config.service_range.contains(local) || local == pod_range::gateway(config.pod_range))
    };
    let mut held = node.address().get().set_link_index_filter(lo).execute();
    let mut doomed = Vec::new();
    while let Some(message) = held.try_next().await.map_err(refused("list addresses"))? {
        doomed.extend(Some(message).filter(ours));
    }
    for message in doomed {
        node.address().del(message).execute().await.map_err(refused("remove an address of link lo"))?;
    }
    Ok(())
}

/// Where the peers are not `known` yet, what an earlier agent made for them stays.
pub(crate) async fn routes(
    node: &Handle,
    config: &Config,
    state: &State,
    plan: &Plan,
    known: bool,
) -> Result<(), Error> {
    let name = overlay_name(&config.node);
    let overlay = match &plan.overlay {
        Some(overlay) => Some(mend_overlay(node, config, state, overlay).await?),
        None => None,
    };
    let metric = metric(&config.node);
    let had: Vec<&RouteState> =
        state.routes.iter().filter(|route| route.protocol == PROTOCOL && route.metric == metric).collect();
    for (destination, route) in &plan.routes {
        let Some(link) = (match route.hop {
            Hop::Link(link) => Some(link),
            Hop::Overlay => overlay,
        }) else {
            continue;
        };
        if !had.iter().any(|had| is(had, *destination, route, link)) {
            let message = message(*destination, route, link, metric);
            let done = node.route().add(message).replace().execute().await;
            done.map_err(refused(format!("add a route to {destination}")))?;
        }
    }
    let stays = |had: &RouteState| {
        plan.routes.contains_key(&had.destination) || !known && config.cluster_range.contains(had.destination.base())
    };
    for gone in had.iter().filter(|had| !stays(had)) {
        remove_route(node, gone, metric).await?;
    }
    match state.link(&name) {
        Some((index, _)) if known && plan.overlay.is_none() => {
            node.link().del(index).execute().await.map_err(refused(format!("remove link {name}")))
        }
        _ => Ok(()),
    }
}

fn is(had: &RouteState, destination: Ipv4Range, route: &Route, link: u32) -> bool {
    had.destination == destination
        && had.link == link
        && had.gateway == route.gateway
        && had.mtu == route.mtu
        && had.source == route.source
}

fn message(destination: Ipv4Range, route: &Route, link: u32, metric: u32) -> RouteMessage {
    let mut builder = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(destination.base(), destination.prefix_len())
        .output_interface(link)
        .protocol(RouteProtocol::Other(PROTOCOL))
        .priority(metric);
    builder = match route.gateway {
        Some(gateway) => builder.gateway(gateway),
        None => builder.scope(RouteScope::Link),
    };
    if route.hop == Hop::Overlay {
        builder = builder.onlink();
    }
    if let Some(source) = route.source {
        builder = builder.pref_source(source);
    }
    if let Some(mtu) = route.mtu {
        builder.get_mut().attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
    }
    builder.build()
}

async fn remove_route(node: &Handle, gone: &RouteState, metric: u32) -> Result<(), Error> {
    let mut message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(gone.destination.base(), gone.destination.prefix_len())
        .protocol(RouteProtocol::Other(PROTOCOL))
        .priority(metric)
        .build();
    // Any scope matches.
    message.header.scope = RouteScope::NoWhere;
    match node.route().del(message).execute().await {
        // Its link went away meanwhile, and the route with it.
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -libc::ESRCH => Ok(()),
        other => other.map_err(refused(format!("remove the route to {}", gone.destination))),
    }
}

/// Makes the overlay's link and its entries, or mends them; answers with its index.
async fn mend_overlay(node: &Handle, config: &Config, state: &State, overlay: &Overlay) -> Result<u32, Error> {
    let name = overlay_name(&config.node);
    let mac = overlay_mac(config.pod_range);
    let (id, port) = (config.vxlan_id, config.vxlan_port);
    let mut found = state.link(&name);
    if let Some((index, link)) = found
        && (link.vxlan != Some((id, port)) || link.mac != Some(mac))
    {
        node.link().del(index).execute().await.map_err(refused(format!("remove the stale link {name}")))?;
        found = None;
    }
    let index = match found {
        Some((index, link)) => {
            if link.mtu != overlay.mtu || !link.up {
                let message = LinkMessageBuilder::<LinkUnspec>::new().index(index).mtu(overlay.mtu).up().build();
                node.link().set(message).execute().await.map_err(refused(format!("bring up link {name}")))?;
            }
            index
        }
        None => create_overlay(node, &name, config, mac, overlay.mtu).await?,
    };
    // Packets of a peer that still takes the other way come in here meanwhile.
    sysctl(&format!("ipv4/conf/{name}/rp_filter"), "2")?;
    sysctl(&format!("ipv4/conf/{name}/forwarding"), "1")?;
    sysctl(&format!("ipv4/conf/{name}/send_redirects"), "0")?;
    let gateway = pod_range::gateway(config.pod_range);
    if !state.holds(index, gateway) {
        // What the node itself sends to Services leaves with the link's own address: another node knows no way back to
        // the address that this one has on its LAN, but through the routers between them.
        let request = node.address().add(index, IpAddr::V4(gateway), 32).replace();
        request.execute().await.map_err(refused(format!("give an address to link {name}")))?;
    }
    let known = found.is_some();
    for (hop, mac) in &overlay.neighbours {
        if !known || state.neighbours.get(hop) != Some(mac) {
            let entry = node.neighbours().add(index, IpAddr::V4(*hop)).link_layer_address(mac).replace();
            entry.execute().await.map_err(refused(format!("add the neighbour {hop} on {name}")))?;
        }
    }
    for (mac, machine) in &overlay.forwarding {
        if !known || state.forwarding.get(mac) != Some(machine) {
            let entry = node.neighbours().add_bridge(index, mac).destination(IpAddr::V4(*machine)).replace();
            let entry = entry.flags(NeighbourFlags::Own);
            entry.execute().await.map_err(refused(format!("add the machine {machine} to {name}")))?;
        }
    }
    if known {
        sweep_overlay(node, index, state, overlay).await?;
    }
    Ok(index)
}

async fn create_overlay(node: &Handle, name: &str, config: &Config, mac: Mac, mtu: u32) -> Result<u32, Error> {
    let message = LinkVxlan::new(name, config.vxlan_id)
        .port(config.vxlan_port)
        .learning(false)
        .address(mac.to_vec())
        .mtu(mtu)
        .up()
        .build();
    create_link(node, name, message, "vxlan").await?;
    index_of(node, name).await?.ok_or_else(|| missing(&format!("link {name}")))
}

async fn sweep_overlay(node: &Handle, index: u32, state: &State, overlay: &Overlay) -> Result<(), Error> {
    for (hop, mac) in state.neighbours.iter().filter(|(hop, _)| !overlay.neighbours.contains_key(hop)) {
        let hop = NeighbourAttribute::Destination(NeighbourAddress::Inet(*hop));
        forget(node, index, AddressFamily::Inet, *mac, hop).await?;
    }
    for (mac, machine) in state.forwarding.iter().filter(|(mac, _)| !overlay.forwarding.contains_key(*mac)) {
        let machine = NeighbourAttribute::Destination(NeighbourAddress::Inet(*machine));
        forget(node, index, AddressFamily::Bridge, *mac, machine).await?;
    }
    Ok(())
}

async fn forget(
    node: &Handle,
    index: u32,
    family: AddressFamily,
    mac: Mac,
    destination: NeighbourAttribute,
) -> Result<(), Error> {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.header.ifindex = index;
    if family == AddressFamily::Bridge {
        message.header.flags = NeighbourFlags::Own;
    }
    message.attributes = vec![destination, NeighbourAttribute::LinkLayerAddress(mac.to_vec())];
    match node.neighbours().del(message).execute().await {
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -libc::ENOENT => Ok(()),
        other => other.map_err(refused("remove an entry of the overlay")),
    }
}

/// Every route and the overlay's link.
pub(crate) async fn remove_all(node: &Handle, config: &Config) -> Result<(), Error> {
    let state = crate::state::load(node, &overlay_name(&config.node)).await?;
    let links = routes(node, config, &state, &Plan::default(), true).await;
    remove_locals(node, config).await?;
    links
}
