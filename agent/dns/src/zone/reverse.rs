//! Names of addresses: `D.C.B.A.in-addr.arpa`.

use std::net::Ipv4Addr;

use super::{Found, TTL_SECONDS, Zone};
use control_api::Ipv4Range;

use crate::message::{Name, Record, kind};

/// Names told for one address: a pod may stand behind many Services.
const NAMES_MAX: usize = 100;

impl Zone {
    pub(super) fn find_reverse(&self, name: &Name, kind: u16, labels: &[String]) -> Found {
        let octets: Option<Vec<u8>> = labels.iter().rev().map(|label| label.parse().ok()).collect();
        let Some(octets) = octets else { return self.elsewhere_or_nothing(labels) };
        let Ok(address) = <[u8; 4]>::try_from(octets.as_slice()).map(Ipv4Addr::from) else {
            return match self.range_of(&octets) {
                Some(range) if octets.len() < 4 => Found::Empty(self.authority(&apex(range))),
                Some(range) => Found::Nothing(self.authority(&apex(range))),
                None => Found::Elsewhere,
            };
        };
        let range = self.ranges.iter().find(|range| range.contains(address)).copied();
        let Some(owners) = self.reverse.get(&address) else {
            return range.map_or(Found::Elsewhere, |range| Found::Nothing(self.authority(&apex(range))));
        };
        if kind != kind::PTR && kind != kind::ANY {
            return Found::Empty(self.authority(&range.map_or_else(|| name.clone(), apex)));
        }
        let target = |owner: &super::Owner| {
            let host = owner.host.iter().map(String::as_str);
            let labels: Vec<&str> = host.chain([owner.service.as_str(), owner.namespace.as_str(), "svc"]).collect();
            Some(Record::pointer(name, kind::PTR, TTL_SECONDS, self.below(&labels)?))
        };
        let known = |owner: &&super::Owner| {
            let entry = self.services.get(&owner.namespace).and_then(|services| services.get(&owner.service));
            entry.is_some_and(|entry| entry.service.is_some())
        };
        let answers: Vec<Record> = owners.iter().filter(known).filter_map(target).take(NAMES_MAX).collect();
        if answers.is_empty() {
            return range.map_or(Found::Elsewhere, |range| Found::Nothing(self.authority(&apex(range))));
        }
        Found::Records { answers, additionals: Vec::new() }
    }

    /// The range that the first octets of an address are in for certain.
    fn range_of(&self, octets: &[u8]) -> Option<Ipv4Range> {
        let mut full = [0; 4];
        for (place, octet) in full.iter_mut().zip(octets) {
            *place = *octet;
        }
        let inside = |range: &&Ipv4Range| {
            usize::from(range.prefix_len()).div_ceil(8) <= octets.len() && range.contains(Ipv4Addr::from(full))
        };
        self.ranges.iter().find(inside).copied()
    }

    /// A label that is no number: nobody has such a name in our ranges.
    fn elsewhere_or_nothing(&self, labels: &[String]) -> Found {
        let numbers: Vec<u8> = labels.iter().rev().map_while(|label| label.parse().ok()).collect();
        self.range_of(&numbers).map_or(Found::Elsewhere, |range| Found::Nothing(self.authority(&apex(range))))
    }
}

/// The name of the range's reverse zone: its whole octets.
fn apex(range: Ipv4Range) -> Name {
    let octets = range.base().octets();
    let whole = octets.iter().take(usize::from(range.prefix_len() / 8)).rev().map(u8::to_string);
    let labels: Vec<String> = whole.chain(["in-addr".to_owned(), "arpa".to_owned()]).collect();
    Name::from_labels(labels.iter().map(String::as_bytes)).unwrap_or_else(Name::root)
}
