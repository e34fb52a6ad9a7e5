//! What a node does with the range of addresses that it has for its pods.

use std::net::Ipv4Addr;

use control_api::Ipv4Range;

/// The node's own address towards its pods: the first of its range.
pub(crate) fn gateway(range: Ipv4Range) -> Ipv4Addr {
    u32::from(range.base()).saturating_add(1).into()
}

/// Addresses that pods may have: all but the first two (network, gateway) and the last (broadcast).
pub(crate) fn addresses(range: Ipv4Range) -> impl Iterator<Item = Ipv4Addr> {
    let (base, last) = (u32::from(range.base()), u32::from(range.last()));
    (base.saturating_add(2)..last).map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_keeps_its_first_addresses_and_its_last_to_itself() {
        let range: Ipv4Range = "10.42.3.7/29".parse().unwrap();
        assert_eq!(gateway(range), Ipv4Addr::new(10, 42, 3, 1));
        let all: Vec<_> = addresses(range).collect();
        assert_eq!(all.first(), Some(&Ipv4Addr::new(10, 42, 3, 2)));
        assert_eq!(all.last(), Some(&Ipv4Addr::new(10, 42, 3, 6)));
        let narrow = Ipv4Range::new(Ipv4Addr::BROADCAST, 32);
        assert_eq!((gateway(narrow), addresses(narrow).count()), (Ipv4Addr::BROADCAST, 0));
    }
}
