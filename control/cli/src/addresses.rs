//! The addresses that this machine can be reached at.

use std::net::IpAddr;

use anyhow::{Context, Result};
use nix::net::if_::InterfaceFlags;

/// Addresses of the real links that are up, IPv4 first. Pods' links have none of their own.
pub fn of_this_machine() -> Result<Vec<String>> {
    let links = nix::ifaddrs::getifaddrs().context("cannot list this machine's addresses")?;
    let mut addresses: Vec<IpAddr> = links
        .filter(|link| {
            link.flags.contains(InterfaceFlags::IFF_UP) && !link.flags.contains(InterfaceFlags::IFF_LOOPBACK)
        })
        .filter_map(|link| {
            let address = link.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        })
        .filter(|address| !is_link_local(address))
        .collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.dedup();
    Ok(addresses.iter().map(IpAddr::to_string).collect())
}

/// `HOST:PORT`, with brackets where the host is an IPv6 address; a port that is there already stays.
pub fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        _ if host.rsplit_once(':').is_some_and(|(_, end)| end.parse::<u16>().is_ok()) => host.to_owned(),
        _ => format!("{host}:{port}"),
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_added_where_none_is() {
        assert_eq!(with_port("10.0.0.1", 6443), "10.0.0.1:6443");
        assert_eq!(with_port("pi.local", 6443), "pi.local:6443");
        assert_eq!(with_port("pi.local:7000", 6443), "pi.local:7000");
        assert_eq!(with_port("fd00::1", 6443), "[fd00::1]:6443");
        assert_eq!(with_port("[fd00::1]:7000", 6443), "[fd00::1]:7000");
    }
}
