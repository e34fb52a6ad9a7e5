//! What the DNS keeps of a Service and of a slice.

use std::net::Ipv4Addr;
use std::sync::Arc;

use control_api::view::core::Service;
use control_api::view::discovery::EndpointSlice;

use crate::message::Name;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Debug)]
pub(super) struct ServiceFacts {
    pub kind: Kind,
    pub ports: Vec<Port>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// With an address of its own, if it is one that we can tell.
    Address(Option<Ipv4Addr>),
    Headless,
    Alias(Name),
}

/// Lower case, as names are compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub name: String,
    pub protocol: String,
    pub number: u16,
}

/// A ready endpoint.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub address: Ipv4Addr,
    /// Its hostname, else its address with dashes.
    pub host: String,
    pub ports: Arc<Vec<Port>>,
}

impl ServiceFacts {
    pub fn of(service: &Service) -> Self {
        let Some(spec) = &service.spec else { return Self { kind: Kind::Headless, ports: Vec::new() } };
        let alias = spec.external_name.as_deref().filter(|_| spec.type_.as_deref() == Some("ExternalName"));
        let kind = match (alias.and_then(Name::parse), spec.cluster_ip.as_deref()) {
            (Some(name), _) => Kind::Alias(name),
            (None, None | Some("" | "None")) => Kind::Headless,
            (None, Some(address)) => Kind::Address(address.parse().ok()),
        };
        let port = |port: &control_api::view::core::ServicePort| {
            port_of(port.name.as_deref(), port.protocol.as_deref(), Some(port.port))
        };
        Self { kind, ports: spec.ports.iter().flatten().filter_map(port).collect() }
    }
}

pub(super) fn service_of(slice: &EndpointSlice) -> Option<&str> {
    slice.metadata.labels.as_ref()?.get(SERVICE_NAME).map(String::as_str).filter(|name| !name.is_empty())
}

/// Ready ones only; a condition that is not told counts as ready.
pub(super) fn endpoints(slice: &EndpointSlice) -> Vec<Endpoint> {
    if slice.address_type != "IPv4" {
        return Vec::new();
    }
    let port = |port: &control_api::view::discovery::EndpointPort| {
        port_of(port.name.as_deref(), port.protocol.as_deref(), port.port)
    };
    let ports: Arc<Vec<Port>> = Arc::new(slice.ports.iter().flatten().filter_map(port).collect());
    let mut found = Vec::new();
    for endpoint in &slice.endpoints {
        if endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(false) {
            continue;
        }
        for address in endpoint.addresses.iter().filter_map(|address| address.parse::<Ipv4Addr>().ok()) {
            let host = endpoint.hostname.as_deref().filter(|name| !name.is_empty());
            let host = host.map_or_else(|| address.to_string().replace('.', "-"), str::to_ascii_lowercase);
            found.push(Endpoint { address, host, ports: ports.clone() });
        }
    }
    found
}

fn port_of(name: Option<&str>, protocol: Option<&str>, number: Option<i32>) -> Option<Port> {
    Some(Port {
        name: name.unwrap_or_default().to_ascii_lowercase(),
        protocol: protocol.unwrap_or("TCP").to_ascii_lowercase(),
        number: u16::try_from(number?).ok()?,
    })
}
