//! The addresses that this machine can be reached at.

use std::net::IpAddr;

use anyhow::{Context, Result};

/// Addresses of the real links that are up, IPv4 first.
pub fn of_this_machine() -> Result<Vec<String>> {
    let addresses = control_wire::addresses::of_this_machine().context("cannot list this machine's addresses")?;
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
