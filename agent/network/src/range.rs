use std::{fmt, net::Ipv4Addr, str::FromStr};

/// An IPv4 range such as `10.42.3.0/24`, kept with its host bits cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    base: u32,
    prefix_len: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an IPv4 range such as 10.42.0.0/24")]
pub struct RangeError(String);

impl Range {
    pub fn new(base: Ipv4Addr, prefix_len: u8) -> Self {
        let prefix_len = prefix_len.min(32);
        let range = Self { base: 0, prefix_len };
        Self { base: u32::from(base) & range.mask(), prefix_len }
    }

    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    pub fn base(&self) -> Ipv4Addr {
        self.base.into()
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == self.base
    }

    /// The node's own address towards its pods: the first of its range.
    pub fn gateway(&self) -> Ipv4Addr {
        (self.base + 1).into()
    }

    /// Addresses that pods may have: all but the first two (network, gateway) and the last (broadcast).
    pub fn pod_addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let last = u64::from(self.base) + (1u64 << (32 - self.prefix_len)) - 1;
        (u64::from(self.base) + 2..last).map(|n| Ipv4Addr::from(u32::try_from(n).expect("the range is within 32 bits")))
    }

    pub(crate) fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix_len)).unwrap_or(0)
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let bad = || RangeError(text.to_owned());
        let (address, len) = text.split_once('/').ok_or_else(bad)?;
        let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
        let len: u8 = len.parse().map_err(|_| bad())?;
        if len > 32 { Err(bad()) } else { Ok(Self::new(address, len)) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_keeps_its_first_addresses_and_its_last_to_itself() {
        let range: Range = "10.42.3.7/29".parse().unwrap();
        assert_eq!(range.to_string(), "10.42.3.0/29");
        assert_eq!(range.gateway(), Ipv4Addr::new(10, 42, 3, 1));
        let all: Vec<_> = range.pod_addresses().collect();
        assert_eq!(all.first(), Some(&Ipv4Addr::new(10, 42, 3, 2)));
        assert_eq!(all.last(), Some(&Ipv4Addr::new(10, 42, 3, 6)));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "10.42.0.0", "10.42.0.0/33", "10.42.0/24", "a/b"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }
}
