//! The range that Services get their addresses from.

use std::net::{IpAddr, Ipv4Addr};

use crate::ip::{Cidr, Ipv4Range};

/// Larger ranges are as good as a mistake; smaller ones have no tenth address.
const PREFIX_MIN: u8 = 12;
const PREFIX_MAX: u8 = 28;
const API: u32 = 1;
const DNS: u32 = 10;
/// Addresses at the range's start that are given out last, so that they are free for who asks for one by name.
const BAND_MIN: u32 = 16;
const BAND_MAX: u32 = 256;

/// An IPv4 range; its first address is the API's, its tenth the cluster DNS's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRange(Ipv4Range);

/// A range that Services cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("the {what} range \"{text}\" is no range in CIDR notation, such as 10.43.0.0/16")]
    Syntax { what: &'static str, text: String },
    #[error("the service range {0} is not of IPv4")]
    Family(String),
    #[error("the service range {0} must have a prefix of {PREFIX_MIN} to {PREFIX_MAX} bits")]
    Size(String),
    #[error("the service range {services} overlaps the pod range {pods}")]
    Overlap { services: String, pods: String },
}

impl ServiceRange {
    /// 10.43.0.0/16.
    pub const DEFAULT: Self = Self(Ipv4Range::new(Ipv4Addr::new(10, 43, 0, 0), 16));

    /// Reads a range that shares no address with the pods' one.
    pub fn parse(services: &str, pods: &str) -> Result<Self, RangeError> {
        let read = |what: &'static str, text: &str| {
            Cidr::parse(text).ok_or_else(|| RangeError::Syntax { what, text: text.to_owned() })
        };
        let (range, pod_range) = (read("service", services)?, read("pod", pods)?);
        let IpAddr::V4(network) = range.network() else { return Err(RangeError::Family(services.to_owned())) };
        if !(PREFIX_MIN..=PREFIX_MAX).contains(&range.prefix) {
            return Err(RangeError::Size(services.to_owned()));
        }
        if range.overlaps(&pod_range) {
            return Err(RangeError::Overlap { services: services.to_owned(), pods: pods.to_owned() });
        }
        Ok(Self(Ipv4Range::new(network, range.prefix)))
    }

    /// Of Service `default/kubernetes`.
    pub fn api_address(&self) -> Ipv4Addr {
        self.at(API)
    }

    /// Of Service `kube-system/kube-dns`.
    pub fn dns_address(&self) -> Ipv4Addr {
        self.at(DNS)
    }

    /// Whether a Service can have `address`: not the range's own first and last one.
    pub fn holds(&self, address: Ipv4Addr) -> bool {
        self.0.contains(address) && address != self.0.base() && address != self.0.last()
    }

    /// Every address that a Service can have, those first that nobody is likely to ask for by name, beginning
    /// `start` addresses into them.
    pub fn candidates(&self, start: u64) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let (range, last) = (*self, self.size() - 1);
        let band = (self.size() / 16).clamp(BAND_MIN, BAND_MAX).min(last);
        let upper = u64::from(last - band).max(1);
        let start = u32::try_from(start % upper).unwrap_or(0);
        let upper = (band + start..last).chain(band..(band + start).min(last));
        upper.chain(1..band).map(move |offset| range.at(offset))
    }

    fn at(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.0.base()) + offset)
    }

    fn size(&self) -> u32 {
        1 << (32 - self.0.prefix_len())
    }
}

impl std::fmt::Display for ServiceRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_range_that_cannot_be_is_refused_by_name() {
        let refused = |services: &str| match ServiceRange::parse(services, "10.42.0.0/16") {
            Ok(range) => panic!("{range} is accepted"),
            Err(error) => error.to_string(),
        };
        assert_eq!(refused("10.42.8.0/24"), "the service range 10.42.8.0/24 overlaps the pod range 10.42.0.0/16");
        assert_eq!(refused("10.0.0.0/8"), "the service range 10.0.0.0/8 must have a prefix of 12 to 28 bits");
        assert_eq!(refused("fd00::/112"), "the service range fd00::/112 is not of IPv4");
        assert!(refused("10.43").starts_with("the service range \"10.43\" is no range in CIDR notation"));
        assert_eq!(ServiceRange::parse("10.43.0.0/16", "10.42.0.0/16"), Ok(ServiceRange::DEFAULT));
    }

    #[test]
    fn every_address_is_a_candidate_once_and_the_low_ones_come_last() {
        for prefix in [22, 27, 28] {
            let text = format!("10.43.0.0/{prefix}");
            let range = ServiceRange::parse(&text, "10.42.0.0/16").expect("a range");
            for start in [0, 7, u64::MAX] {
                let all: Vec<Ipv4Addr> = range.candidates(start).collect();
                let different: BTreeSet<&Ipv4Addr> = all.iter().collect();
                assert_eq!((all.len(), different.len()), (range.size() as usize - 2, all.len()), "{text} from {start}");
                assert!(all.iter().all(|address| range.holds(*address)));
            }
        }
        assert_eq!(ServiceRange::DEFAULT.candidates(0).next(), Some(Ipv4Addr::new(10, 43, 1, 0)));
        assert_eq!(ServiceRange::DEFAULT.api_address(), Ipv4Addr::new(10, 43, 0, 1));
        assert_eq!(ServiceRange::DEFAULT.dns_address(), Ipv4Addr::new(10, 43, 0, 10));
        assert!(!ServiceRange::DEFAULT.holds(Ipv4Addr::new(10, 43, 255, 255)));
        assert!(!ServiceRange::DEFAULT.holds(Ipv4Addr::new(10, 42, 0, 1)));
    }
}
