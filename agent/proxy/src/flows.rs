//! Flows of UDP that lead where they no longer should: the kernel would keep them there as long as packets come.

use std::net::Ipv4Addr;

use agent_nft::{Error, Socket, UdpFlow};

use crate::{
    config::Config,
    front::{Front, NODE},
    service::Protocol,
    state::{Changes, State},
};

/// Makes the kernel forget the stale flows of the fronts that changed.
pub(crate) fn forget_stale(
    socket: &mut Socket,
    config: &Config,
    state: &State,
    changes: &Changes,
    whole: bool,
) -> Result<(), Error> {
    if changes.stale.is_empty() && !whole {
        return Ok(());
    }
    for flow in socket.udp_flows()? {
        if is_stale(&flow, config, state, changes, whole) {
            socket.forget(&flow)?;
        }
    }
    Ok(())
}

fn is_stale(flow: &UdpFlow, config: &Config, state: &State, changes: &Changes, whole: bool) -> bool {
    let (address, port) = flow.original.destination;
    let front = |address: Ipv4Addr| Front { address, protocol: Protocol::Udp, port };
    let (exact, node) = (front(address), front(NODE));
    if changes.stale.contains(&exact) {
        return !state.leads_to(&exact, flow.reply.source);
    }
    // Translated for a Service that went while nobody looked.
    if config.service_range.contains(address) && !config.local_services.contains(&address) {
        return whole && !state.has(&exact);
    }
    // Others may use the same number for a port of theirs: only what was translated, or was never answered.
    let translated = flow.reply.source != flow.original.destination;
    changes.stale.contains(&node) && (translated || !flow.replied) && !state.leads_to(&node, flow.reply.source)
}
