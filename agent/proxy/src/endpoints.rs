//! The endpoints of a Service, from its EndpointSlices.

use std::{collections::BTreeSet, net::Ipv4Addr};

use control_api::view::discovery;

use crate::service::{Protocol, ServiceKey, ServicePort, port_number};

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// As many as the API takes in one slice.
const SLICE_ENDPOINTS_MAX: usize = 1000;
/// More endpoints of one port than this are left out.
const ENDPOINTS_MAX: usize = 10_000;

/// Where packets end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Target {
    pub address: Ipv4Addr,
    pub port: u16,
    /// It runs on this node, or nobody says where.
    pub near: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub service: ServiceKey,
    ports: Vec<(String, Protocol, u16)>,
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    address: Ipv4Addr,
    /// It says that it runs on this node.
    local: bool,
    near: bool,
    ready: bool,
    /// It still answers though it is about to go.
    draining: bool,
}

impl Slice {
    /// Absent: of no Service, or of another address family.
    pub fn read(object: &discovery::EndpointSlice, node_name: &str) -> Option<Self> {
        let name = object.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
        if object.address_type != "IPv4" {
            return None;
        }
        let ports = object.ports.iter().flatten().filter_map(|port| {
            let number = port_number(port.port?)?;
            Some((port.name.clone().unwrap_or_default(), Protocol::parse(port.protocol.as_deref())?, number))
        });
        let endpoints = object.endpoints.iter().take(SLICE_ENDPOINTS_MAX);
        Some(Self {
            service: (object.metadata.namespace.clone().unwrap_or_default(), name.clone()),
            ports: ports.collect(),
            endpoints: endpoints.filter_map(|endpoint| Endpoint::read(endpoint, node_name)).collect(),
        })
    }
}

impl Endpoint {
    fn read(object: &discovery::Endpoint, node_name: &str) -> Option<Self> {
        // The addresses of one endpoint are the same pod: the first stands for it.
        let address = object.addresses.first()?.parse().ok()?;
        let local = object.node_name.as_deref() == Some(node_name);
        let conditions = object.conditions.as_ref();
        let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
        let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
        let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
        Some(Self {
            address,
            local,
            near: local || object.node_name.is_none(),
            ready,
            draining: serving && terminating,
        })
    }
}

/// Which targets a Service's port has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    /// Of the whole cluster.
    pub all: Vec<Target>,
    /// Of this node alone, for policies that say Local.
    pub local: Vec<Target>,
}

impl Targets {
    /// Ready ones, and where none is, those that drain.
    pub fn of<'a>(port: &ServicePort, slices: impl Iterator<Item = &'a Slice> + Clone) -> Self {
        let choose = |wanted: fn(&Endpoint) -> bool| {
            let ready = targets(port, slices.clone(), |endpoint| wanted(endpoint) && endpoint.ready);
            let none = ready.is_empty();
            let draining = || targets(port, slices.clone(), |endpoint| wanted(endpoint) && endpoint.draining);
            if none { draining() } else { ready }
        };
        Self { all: choose(|_| true), local: choose(|endpoint| endpoint.local) }
    }
}

/// How many endpoints on this node are ready, over all ports of a Service.
pub(crate) fn local_ready_count<'a>(slices: impl Iterator<Item = &'a Slice>) -> usize {
    let endpoints = slices.flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|endpoint| endpoint.local && endpoint.ready).map(|endpoint| endpoint.address);
    ready.collect::<BTreeSet<_>>().len()
}

fn targets<'a>(
    port: &ServicePort,
    slices: impl Iterator<Item = &'a Slice>,
    wanted: impl Fn(&Endpoint) -> bool,
) -> Vec<Target> {
    let mut found: Vec<Target> = Vec::new();
    for slice in slices {
        let numbers = slice.ports.iter().filter(|(name, protocol, _)| (name, protocol) == (&port.name, &port.protocol));
        for (_, _, number) in numbers {
            let wanted = slice.endpoints.iter().filter(|endpoint| wanted(endpoint));
            found.extend(wanted.map(|of| Target { address: of.address, port: *number, near: of.near }));
        }
    }
    found.sort();
    // While an endpoint moves from one slice to another it may be in both.
    found.dedup_by_key(|target| (target.address, target.port));
    found.truncate(ENDPOINTS_MAX);
    found
}
