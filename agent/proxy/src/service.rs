//! A Service, as far as packets are concerned.

use std::{collections::BTreeSet, net::Ipv4Addr};

use control_api::view::core;

const AFFINITY_SECONDS_DEFAULT: u32 = 10_800;
const AFFINITY_SECONDS_MAX: u32 = 86_400;
/// Ranges of one Service that are looked at, and addresses it is reached by.
const RANGES_MAX: usize = 256;
const ADDRESSES_MAX: usize = 64;
/// Services with this label are another proxy's.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// Namespace and name.
pub(crate) type ServiceKey = (String, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    Tcp = 6,
    Udp = 17,
}

impl Protocol {
    /// Absent: SCTP, which is not translated.
    pub fn parse(name: Option<&str>) -> Option<Self> {
        match name.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub cluster_address: Ipv4Addr,
    pub external_addresses: Vec<Ipv4Addr>,
    pub balancer_addresses: Vec<Ipv4Addr>,
    /// Who may use the load balancer's addresses; none: everybody. No range lies within another.
    pub balancer_sources: Vec<Ipv4Range>,
    pub ports: Vec<ServicePort>,
    pub sticky_seconds: Option<u32>,
    pub internal_local: bool,
    pub external_local: bool,
    pub health_port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServicePort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
}

impl Service {
    /// Absent: nothing for a proxy to do (headless, ExternalName, another proxy's).
    pub fn read(object: &core::Service) -> Option<Self> {
        let spec = object.spec.as_ref()?;
        if object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROXY_NAME_LABEL)) {
            return None;
        }
        let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
        if kind == "ExternalName" {
            return None;
        }
        let addresses = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        let cluster_address = addresses.filter_map(|address| address.parse().ok()).next()?;
        let (published, balanced) = (kind != "ClusterIP", kind == "LoadBalancer");
        let ports =
            spec.ports.iter().flatten().filter_map(|port| read_port(port, published).or_else(|| skip(object, port)));
        let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
        Some(Self {
            cluster_address,
            external_addresses: parsed(spec.external_ips.iter().flatten()),
            balancer_addresses: if balanced { ingress(object) } else { Vec::new() },
            balancer_sources: sources(spec.load_balancer_source_ranges.iter().flatten()),
            ports: ports.collect(),
            sticky_seconds: affinity_seconds(spec),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local,
            health_port: spec.health_check_node_port.filter(|_| external_local && balanced).and_then(port_number),
        })
    }
}

fn read_port(port: &core::ServicePort, published: bool) -> Option<ServicePort> {
    Some(ServicePort {
        name: port.name.clone().unwrap_or_default(),
        protocol: Protocol::parse(port.protocol.as_deref())?,
        port: port_number(port.port)?,
        node_port: port.node_port.filter(|_| published).and_then(port_number),
    })
}

fn skip<T>(object: &core::Service, port: &core::ServicePort) -> Option<T> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let protocol = port.protocol.as_deref().unwrap_or_default();
    tracing::warn!("port {} of the Service {name} leads nowhere: {protocol} is not proxied", port.port);
    None
}

pub(crate) fn port_number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

fn parsed<'a>(addresses: impl Iterator<Item = &'a String>) -> Vec<Ipv4Addr> {
    let unique: BTreeSet<Ipv4Addr> = addresses.filter_map(|address| address.parse().ok()).take(ADDRESSES_MAX).collect();
    unique.into_iter().collect()
}

/// The load balancer's addresses that are ours to take; those of mode Proxy want to be sent to the balancer.
fn ingress(object: &core::Service) -> Vec<Ipv4Addr> {
    let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let points = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    parsed(points.filter(|point| point.ip_mode.as_deref() != Some("Proxy")).filter_map(|point| point.ip.as_ref()))
}

/// Of ranges of which one holds the other, the larger: the kernel refuses overlaps.
fn sources<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<Ipv4Range> {
    let mut ranges: Vec<Ipv4Range> = texts.filter_map(|text| text.trim().parse().ok()).take(RANGES_MAX).collect();
    ranges.sort_by_key(|range| (range.prefix_len(), range.base()));
    let mut kept: Vec<Ipv4Range> = Vec::new();
    for range in ranges {
        if !kept.iter().any(|wider| wider.contains(range.base())) {
            kept.push(range);
        }
    }
    kept.sort();
    kept
}

fn affinity_seconds(spec: &core::ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).and_then(|seconds| u32::try_from(seconds).ok());
    Some(seconds.unwrap_or(AFFINITY_SECONDS_DEFAULT).clamp(1, AFFINITY_SECONDS_MAX))
}
use control_api::Ipv4Range;
