//! Pod ranges: a /24 a node out of the cluster's.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use control_api::Ipv4Range;

const NODE_PREFIX_LEN: u8 = 24;
/// Of the cluster's range.
const PREFIX_LENS: RangeInclusive<u8> = 8..=NODE_PREFIX_LEN;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("pod range {0:?} is not an IPv4 range of /24 or wider")]
    Malformed(String),
    #[error("pod range {0} has no free /24 left for another node")]
    Full(String),
}

/// The lowest /24 of `cluster` that is not in `used`.
pub fn allot(cluster: &str, used: &HashSet<String>) -> Result<String, RangeError> {
    let range = cluster.parse().ok().filter(|range: &Ipv4Range| PREFIX_LENS.contains(&range.prefix_len()));
    let range = range.ok_or_else(|| RangeError::Malformed(cluster.to_owned()))?;
    (u32::from(range.base())..=u32::from(range.last()))
        .step_by(1 << (32 - NODE_PREFIX_LEN))
        .map(|base| Ipv4Range::new(base.into(), NODE_PREFIX_LEN).to_string())
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
