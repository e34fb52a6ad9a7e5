//! What packets are sent to, and what becomes of them: a Service as the proxy's map has it.

use std::net::Ipv4Addr;

use control_api::Ipv4Range;

use crate::{
    endpoints::{Slice, Target, Targets},
    service::{Protocol, Service},
};

/// Stands for every address of the node.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// An address and port that a Service is reached by; a NodePort has the address [`NODE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Front {
    pub address: Ipv4Addr,
    pub protocol: Protocol,
    pub port: u16,
}

/// What becomes of the packets of one front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Nobody anywhere answers: the sender is told at once.
    pub refuse: bool,
    /// Without any, packets are dropped, since other nodes may have one.
    pub targets: Vec<Target>,
    /// What pods and the node itself get in their place, where the policy for others is Local.
    pub inside: Option<Vec<Target>>,
    /// The target sees the node as the source, so that its answers come back this way.
    pub masquerade: bool,
    pub sticky_seconds: Option<u32>,
    /// Nobody else may send; none: everybody may.
    pub sources: Vec<Ipv4Range>,
}

pub(crate) fn fronts<'a>(service: &Service, slices: impl Iterator<Item = &'a Slice> + Clone) -> Vec<(Front, Plan)> {
    let mut fronts = Vec::new();
    for port in &service.ports {
        let targets = Targets::of(port, slices.clone());
        let front = |address, number| Front { address, protocol: port.protocol, port: number };
        fronts.push((front(service.cluster_address, port.port), internal(service, &targets)));
        let outside = external(service, &targets);
        for address in &service.external_addresses {
            fronts.push((front(*address, port.port), outside.clone()));
        }
        for address in &service.balancer_addresses {
            let sources = service.balancer_sources.clone();
            fronts.push((front(*address, port.port), Plan { sources, ..outside.clone() }));
        }
        if let Some(number) = port.node_port {
            fronts.push((front(NODE, number), outside.clone()));
        }
    }
    // The same address may be named twice, as an external and a balancer's.
    fronts.sort_by_key(|(front, _)| *front);
    fronts.dedup_by_key(|(front, _)| *front);
    fronts
}

fn internal(service: &Service, targets: &Targets) -> Plan {
    let chosen = if service.internal_local { &targets.local } else { &targets.all };
    Plan {
        refuse: targets.all.is_empty() && chosen.is_empty(),
        targets: chosen.clone(),
        sticky_seconds: service.sticky_seconds,
        ..Plan::default()
    }
}

fn external(service: &Service, targets: &Targets) -> Plan {
    let local = service.external_local;
    let chosen = if local { &targets.local } else { &targets.all };
    Plan {
        refuse: targets.all.is_empty() && chosen.is_empty(),
        targets: chosen.clone(),
        inside: local.then(|| targets.all.clone()),
        masquerade: !local,
        sticky_seconds: service.sticky_seconds,
        sources: Vec::new(),
    }
}
