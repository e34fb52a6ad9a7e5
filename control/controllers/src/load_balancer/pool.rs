//! A pool of addresses, as people write it: `192.168.1.240-192.168.1.250`, `192.168.1.64/28`, `192.168.1.9`. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use control_api::Ipv4Range;

/// Ranges in one pool.
const RANGES_MAX: usize = 64;
/// Addresses in one range.
const RANGE_ADDRESSES_MAX: u32 = 1 << 16;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    /// First and last address.
    ranges: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    #[error("{0:?} is no range of addresses such as 192.168.1.240-192.168.1.250, 192.168.1.64/28 or 192.168.1.9")]
    Range(String),
    #[error("more than {RANGES_MAX} ranges")]
    TooMany,
    #[error(
        "no addresses for load balancers are known: name some of your LAN that DHCP does not give out as loadBalancerPool in the server's configuration"
    )]
    Empty,
    #[error("every address of the pool {0} is taken")]
    Full(String),
}

impl Pool {
    pub fn parse(texts: &[String]) -> Result<Self, PoolError> {
        if texts.len() > RANGES_MAX {
            return Err(PoolError::TooMany);
        }
        let ranges = texts.iter().map(|text| range(text).ok_or_else(|| PoolError::Range(text.clone())));
        Ok(Self { ranges: ranges.collect::<Result<_, _>>()? })
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let address = u32::from(address);
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&address))
    }

    /// The address held already where it is in the pool and nobody else's, else the lowest that is free.
    pub fn choose(&self, held: &[Ipv4Addr], taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, PoolError> {
        if self.ranges.is_empty() {
            return Err(PoolError::Empty);
        }
        if let Some(kept) = held.iter().find(|address| self.contains(**address) && !taken.contains(address)) {
            return Ok(*kept);
        }
        let mut all = self.ranges.iter().flat_map(|(first, last)| *first..=*last).map(Ipv4Addr::from);
        all.find(|address| !taken.contains(address)).ok_or_else(|| PoolError::Full(self.to_string()))
    }
}

fn range(text: &str) -> Option<(u32, u32)> {
    let text = text.trim();
    let address = |text: &str| text.trim().parse::<Ipv4Addr>().ok().map(u32::from);
    let (first, last) = if let Some((first, last)) = text.split_once('-') {
        (address(first)?, address(last)?)
    } else if text.contains('/') {
        let subnet: Ipv4Range = text.parse().ok()?;
        let (base, last) = (u32::from(subnet.base()), u32::from(subnet.last()));
        // The first and last of a subnet are nobody's.
        if subnet.prefix_len() < 31 { (base + 1, last - 1) } else { (base, last) }
    } else {
        (address(text)?, address(text)?)
    };
    (first <= last && last - first < RANGE_ADDRESSES_MAX).then_some((first, last))
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}-{}", Ipv4Addr::from(*first), Ipv4Addr::from(*last))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(texts: &[&str]) -> Result<Pool, PoolError> {
        Pool::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_lowest_free_address_is_given_and_a_held_one_kept() {
        let pool = pool(&["192.168.1.240-192.168.1.241", "10.0.0.0/30"]).unwrap();
        let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let mut taken = BTreeSet::from([ip("192.168.1.240")]);
        assert_eq!(pool.choose(&[], &taken), Ok(ip("192.168.1.241")));
        assert_eq!(pool.choose(&[ip("10.0.0.2")], &taken), Ok(ip("10.0.0.2")));
        assert_eq!(
            pool.choose(&[ip("10.9.9.9")], &taken),
            Ok(ip("192.168.1.241")),
            "one of an older pool is given back"
        );
        taken.extend([ip("192.168.1.241"), ip("10.0.0.1"), ip("10.0.0.2")]);
        assert!(matches!(pool.choose(&[], &taken), Err(PoolError::Full(_))));
        assert_eq!(Pool::default().choose(&[], &taken), Err(PoolError::Empty));
    }

    #[test]
    fn what_is_no_range_is_named() {
        for text in ["", "a", "10.0.0.9-10.0.0.1", "10.0.0.0/33", "10.0.0.0/8", "10.0.0.1-", "fd00::1"] {
            assert_eq!(pool(&[text]), Err(PoolError::Range(text.to_owned())));
        }
    }
}
