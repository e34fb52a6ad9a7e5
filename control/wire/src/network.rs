//! Whether the network that a server tells of can be: the node keeps it for good, and starts by it without a server.

use std::net::Ipv4Addr;

use control_api::{Ipv4Range, name};

use crate::frame::NodeNetwork;

/// Why not, in words.
pub(crate) fn check(network: &NodeNetwork) -> Result<(), String> {
    let NodeNetwork { pod_range, cluster_range, service_range, dns, domain, .. } = network;
    let pods = range("the node's pod range", pod_range)?;
    let cluster = range("the cluster's pod range", cluster_range)?;
    let services = range("the range of Services", service_range)?;
    if !cluster.contains(pods.base()) || !cluster.contains(pods.last()) {
        return Err(format!("the node's pod range {pods} is outside of the cluster's {cluster}"));
    }
    if !dns.parse().is_ok_and(|dns: Ipv4Addr| services.contains(dns)) {
        return Err(format!("the DNS's address {dns:?} is not in the range of Services {services}"));
    }
    match name::dns_subdomain(domain).first() {
        Some(wrong) => Err(format!("the cluster's domain {domain:?} {wrong}")),
        None => Ok(()),
    }
}

fn range(what: &str, text: &str) -> Result<Ipv4Range, String> {
    text.parse().map_err(|_| format!("{what} is {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_network_that_a_node_can_start_by_is_taken() {
        let text = |text: &str| text.to_owned();
        let good = || NodeNetwork {
            pod_range: text("10.42.3.0/24"),
            cluster_range: text("10.42.0.0/16"),
            service_range: text("10.43.0.0/16"),
            dns: text("10.43.0.10"),
            domain: text("cluster.local"),
            secret: [0; 32],
        };
        check(&good()).unwrap();
        for bad in [
            NodeNetwork { pod_range: text("10.44.3.0/24"), ..good() },
            NodeNetwork { pod_range: text("10.42.0.0/8"), ..good() },
            NodeNetwork { cluster_range: text("../../x"), ..good() },
            NodeNetwork { service_range: text(""), ..good() },
            NodeNetwork { dns: text("10.42.0.10"), ..good() },
            NodeNetwork { domain: text("local\nnameserver 1.2.3.4"), ..good() },
        ] {
            check(&bad).unwrap_err();
        }
    }
}
