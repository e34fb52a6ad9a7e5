//! IP addresses and ranges as text. Nothing here accepts a leading zero or a shortened IPv4 address: other readers of the
//! same text would take them for other addresses.

mod ipv4_range;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use ipv4_range::{Ipv4Range, Ipv4RangeError};

/// `10.9.8.7` or `2001:db8::1`.
pub fn parse(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// A range of either family in CIDR notation, as it was written: its address may have bits beyond the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    /// 0 to 32 or 128.
    pub prefix: u8,
}

impl Cidr {
    /// Reads `10.9.8.0/24`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, digits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let plain = digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let padded = digits.len() > 1 && digits.starts_with('0');
        let prefix: u8 = if plain && !padded { digits.parse().ok()? } else { return None };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// The first address, without bits beyond the prefix.
    pub fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from(u32::from(address) & self.mask_v4())),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & self.mask_v6())),
        }
    }

    /// Whether `address` is of the same family and inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network(), address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => u32::from(address) & self.mask_v4() == u32::from(network),
            (IpAddr::V6(network), IpAddr::V6(address)) => u128::from(address) & self.mask_v6() == u128::from(network),
            _ => false,
        }
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.network()) || other.contains(self.network())
    }

    fn mask_v4(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    fn mask_v6(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Why traffic cannot be meant for `address`; as endpoints and external addresses are checked.
pub fn special(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let link_multicast = match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    };
    if address.is_unspecified() {
        Some("may not be unspecified (0.0.0.0 or ::)")
    } else if address.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if link_multicast {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_has_a_prefix_of_its_family() {
        for good in ["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/32", "::/0", "2001:db8::/64"] {
            assert!(Cidr::parse(good).is_some(), "{good}");
        }
        for bad in
            ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/+8", "010.0.0.0/8", "::/129", "a/8"]
        {
            assert!(Cidr::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn ranges_that_share_an_address_overlap() {
        let range = |text| Cidr::parse(text).expect("a range");
        assert!(range("10.42.0.0/16").overlaps(&range("10.42.3.0/24")));
        assert!(range("10.42.3.0/24").overlaps(&range("10.0.0.0/8")));
        assert!(!range("10.42.0.0/16").overlaps(&range("10.43.0.0/16")));
        assert!(!range("0.0.0.0/0").overlaps(&range("::/0")));
        assert!(range("10.1.2.3/24").contains("10.1.2.255".parse().expect("an address")));
    }

    #[test]
    fn addresses_that_no_packet_leaves_for_are_special() {
        for text in ["0.0.0.0", "::", "127.0.0.9", "::1", "169.254.1.1", "fe80::1", "224.0.0.251", "ff02::1"] {
            assert!(special(parse(text).expect("an address")).is_some(), "{text}");
        }
        assert_eq!(special(parse("10.0.0.1").expect("an address")), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_a_range_holds_its_ends(text in "[0-9a-f:./]{0,24}") {
            if let Some(range) = Cidr::parse(&text) {
                prop_assert!(range.contains(range.network()));
                prop_assert!(range.contains(range.address));
                prop_assert_eq!(Cidr::parse(&range.to_string()), Some(range));
            }
        }

        #[test]
        fn a_range_read_back_is_the_same(bits in any::<u32>(), prefix in 0u8..=32, other in any::<u32>()) {
            let range = Cidr { address: Ipv4Addr::from(bits).into(), prefix };
            prop_assert_eq!(Cidr::parse(&range.to_string()), Some(range));
            let shares = prefix == 0 || (bits ^ other) >> (32 - u32::from(prefix)) == 0;
            prop_assert_eq!(range.contains(Ipv4Addr::from(other).into()), shares);
        }
    }
}
