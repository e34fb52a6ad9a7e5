//! A Service's own rules: what its type needs, what it claims of the cluster, and what an update carries over.
//!
//! [`needs`]-functions and [`Claims`] here; [`complete`] fills in what follows from the rest of the Service, before
//! validation; addresses and ports are then given out by the server.

mod carry;
mod families;
mod range;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::object::{get, integer, list, text};

pub use families::IPV4;
pub(crate) use families::selectorless;
pub use range::{RangeError, ServiceRange};

/// The `clusterIP` of a headless Service.
pub const HEADLESS: &str = "None";

/// The Service has an address of the cluster, or is headless on purpose.
pub fn needs_cluster_ip(service: &Value) -> bool {
    matches!(text(service, "/spec/type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// The Service is reached through a port of every node.
pub fn needs_node_port(service: &Value) -> bool {
    matches!(text(service, "/spec/type"), "NodePort" | "LoadBalancer")
}

/// Ports are given out where the Service names none.
pub fn allocates_node_ports(service: &Value) -> bool {
    let wanted = get(service, "/spec/allocateLoadBalancerNodePorts").is_none_or(|wanted| wanted == &Value::Bool(true));
    match text(service, "/spec/type") {
        "NodePort" => true,
        "LoadBalancer" => wanted,
        _ => false,
    }
}

/// Traffic from outside may come: only then has `externalTrafficPolicy` a meaning.
pub fn externally_accessible(service: &Value) -> bool {
    needs_node_port(service)
        || (text(service, "/spec/type") == "ClusterIP" && !list(service, "/spec/externalIPs").is_empty())
}

/// A load balancer that asks each node whether it has an endpoint.
pub fn needs_health_check_port(service: &Value) -> bool {
    text(service, "/spec/type") == "LoadBalancer" && text(service, "/spec/externalTrafficPolicy") == "Local"
}

pub fn is_headless(service: &Value) -> bool {
    list(service, "/spec/clusterIPs")
        .first()
        .map_or(text(service, "/spec/clusterIP"), |first| first.as_str().unwrap_or_default())
        == HEADLESS
}

/// Whether something is still to be given out to the Service.
pub fn lacks(service: &Value) -> bool {
    let no_port = |object: &Value, pointer: &str| integer(object, pointer).unwrap_or(0) == 0;
    let ports = list(service, "/spec/ports");
    (needs_cluster_ip(service) && text(service, "/spec/clusterIP").is_empty())
        || (allocates_node_ports(service) && ports.iter().any(|port| no_port(port, "/nodePort")))
        || (needs_health_check_port(service) && no_port(service, "/spec/healthCheckNodePort"))
}

/// What a Service holds alone in the whole cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Node ports of its ports, and its health check's.
    pub ports: BTreeSet<u16>,
}

impl Claims {
    /// Whether `other` holds all of this.
    pub fn is_within(&self, other: &Self) -> bool {
        self.addresses.is_subset(&other.addresses) && self.ports.is_subset(&other.ports)
    }

    /// The claims that the object states; what is not stated yet is not among them.
    pub fn of(service: &Value) -> Self {
        let mut claims = Self::default();
        if needs_cluster_ip(service) {
            let one = get(service, "/spec/clusterIP").into_iter();
            let addresses = list(service, "/spec/clusterIPs").iter().chain(one).filter_map(Value::as_str);
            claims.addresses.extend(addresses.filter_map(|address| address.parse::<Ipv4Addr>().ok()));
        }
        if needs_node_port(service) {
            let ports = list(service, "/spec/ports").iter().filter_map(|port| integer(port, "/nodePort"));
            let ports = ports.chain(integer(service, "/spec/healthCheckNodePort"));
            claims.ports.extend(ports.filter(|port| *port != 0).filter_map(|port| u16::try_from(port).ok()));
        }
        claims
    }
}

/// Fills in what follows from the Service itself and from the version before, and takes away what its new type has no
/// use for. Call after defaulting and before validation, for create (without `old`) and update.
pub fn complete(service: &mut Value, old: Option<&Value>) {
    carry::cluster_ips(service, old);
    if let Some(old) = old {
        carry::allocated(service, old);
        carry::drop_unused(service, old);
    }
    families::fill(service, old);
}

#[cfg(test)]
mod tests;
