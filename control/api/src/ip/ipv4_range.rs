use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use super::Cidr;

/// An IPv4 range such as `10.42.3.0/24`, kept with its host bits cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Range {
    base: u32,
    prefix_len: u8,
}

/// The text is no range, or one of IPv6.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 range such as 10.42.0.0/16")]
pub struct Ipv4RangeError(String);

impl Ipv4Range {
    /// The range around `address`. A length over 32 counts as 32.
    pub const fn new(address: Ipv4Addr, prefix_len: u8) -> Self {
        let prefix_len = if prefix_len > 32 { 32 } else { prefix_len };
        Self { base: address.to_bits() & mask(prefix_len), prefix_len }
    }

    /// 0 to 32.
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// The first address.
    pub const fn base(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base)
    }

    /// The last address.
    pub const fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | !mask(self.prefix_len))
    }

    pub const fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix_len) == self.base
    }

    /// Whether the two share an address.
    pub const fn overlaps(&self, other: Self) -> bool {
        self.contains(other.base()) || other.contains(self.base())
    }
}

const fn mask(prefix_len: u8) -> u32 {
    if prefix_len == 0 { 0 } else { u32::MAX << (32 - prefix_len) }
}

impl FromStr for Ipv4Range {
    type Err = Ipv4RangeError;

    fn from_str(text: &str) -> Result<Self, Ipv4RangeError> {
        match Cidr::parse(text) {
            Some(Cidr { address: IpAddr::V4(address), prefix }) => Ok(Self::new(address, prefix)),
            _ => Err(Ipv4RangeError(text.to_owned())),
        }
    }
}

impl fmt::Display for Ipv4Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn host_bits_are_cleared() {
        let range: Ipv4Range = "10.42.3.7/29".parse().unwrap();
        assert_eq!(range.to_string(), "10.42.3.0/29");
        assert_eq!(range.last(), Ipv4Addr::new(10, 42, 3, 7));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "10.42.0.0", "10.42.0.0/33", "10.42.0.0/016", "10.42.0/24", "a/b", "fd00::/8"] {
            assert!(text.parse::<Ipv4Range>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_ranges_of_both_families(bits in any::<u32>(), len in 0u8..=32, other in any::<u32>(), len2 in 0u8..=32) {
            let cidr = |bits: u32, prefix| Cidr { address: Ipv4Addr::from(bits).into(), prefix };
            let range = Ipv4Range::new(bits.into(), len);
            prop_assert_eq!(range.to_string().parse(), Ok(range));
            prop_assert_eq!(range.contains(other.into()), cidr(bits, len).contains(Ipv4Addr::from(other).into()));
            let overlaps = cidr(bits, len).overlaps(&cidr(other, len2));
            prop_assert_eq!(range.overlaps(Ipv4Range::new(other.into(), len2)), overlaps);
            prop_assert!(range.contains(range.base()) && range.contains(range.last()));
        }
    }
}
