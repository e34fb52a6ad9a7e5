//! Pod ranges: a /24 a node out of the cluster's.

use std::collections::HashSet;
use std::net::Ipv4Addr;

const NODE_PREFIX_BITS: u32 = 24;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("pod range {0:?} is not an IPv4 range of /24 or wider")]
    Malformed(String),
    #[error("pod range {0} has no free /24 left for another node")]
    Full(String),
}

/// The lowest /24 of `cluster` that is not in `used`.
pub fn allot(cluster: &str, used: &HashSet<String>) -> Result<String, RangeError> {
    let malformed = || RangeError::Malformed(cluster.to_owned());
    let (base, bits) = cluster.split_once('/').ok_or_else(malformed)?;
    let base: Ipv4Addr = base.parse().map_err(|_| malformed())?;
    let bits: u32 = bits.parse().ok().filter(|bits| (8..=NODE_PREFIX_BITS).contains(bits)).ok_or_else(malformed)?;
    let first = u32::from(base) & (u32::MAX << (32 - bits));
    (0..1 << (NODE_PREFIX_BITS - bits))
        .map(|index: u32| format!("{}/{NODE_PREFIX_BITS}", Ipv4Addr::from(first + (index << (32 - NODE_PREFIX_BITS)))))
        .find(|range| !used.contains(range))
        .ok_or_else(|| RangeError::Full(cluster.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_range_is_given_until_none_is_left() {
        let mut used = HashSet::from(["10.42.0.0/24".to_owned()]);
        assert_eq!(allot("10.42.0.0/16", &used).unwrap(), "10.42.1.0/24");
        assert_eq!(allot("10.42.9.0/24", &used).unwrap(), "10.42.9.0/24");
        used.insert("10.42.9.0/24".to_owned());
        assert!(matches!(allot("10.42.9.0/24", &used), Err(RangeError::Full(_))));
        assert!(matches!(allot("10.42.0.0", &used), Err(RangeError::Malformed(_))));
    }
}
