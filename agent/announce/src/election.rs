//! Who announces an address. Pure: every node that hears the same comes to the same answer.
//!
//! Who announces already goes on, so that a node that comes back does not take connections away from the one that
//! stood in for it; where two announce (a partition healed) or none does, the candidate of the highest rank is it.

use std::net::Ipv4Addr;

/// A node that lives and could serve the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub name: &'a str,
    pub announces: bool,
}

/// The node that is to announce `address`.
pub fn elect<'a>(address: Ipv4Addr, candidates: &[Candidate<'a>]) -> Option<&'a str> {
    let announced = candidates.iter().any(|candidate| candidate.announces);
    let eligible = candidates.iter().filter(|candidate| candidate.announces == announced);
    eligible.max_by_key(|candidate| rank(address, candidate.name)).map(|candidate| candidate.name)
}

/// Spreads addresses over nodes, and moves none but those of a lost node.
fn rank(address: Ipv4Addr, node: &str) -> ([u8; 32], &str) {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{address} {node}").as_bytes());
    (digest.as_ref().try_into().expect("SHA-256 has 32 bytes"), node)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 240);

    fn candidates<'a>(names: &[&'a str], announcing: &[&str]) -> Vec<Candidate<'a>> {
        names.iter().map(|name| Candidate { name, announces: announcing.contains(name) }).collect()
    }

    #[test]
    fn who_announces_goes_on_and_a_lost_one_is_replaced() {
        let first = elect(ADDRESS, &candidates(&["a", "b", "c"], &[])).unwrap();
        let other = ["a", "b", "c"].into_iter().find(|name| *name != first).unwrap();
        assert_eq!(elect(ADDRESS, &candidates(&["a", "b", "c"], &[other])), Some(other));
        assert_eq!(elect(ADDRESS, &candidates(&["a", "b", "c"], &[first, other])), Some(first));
        let left: Vec<&str> = ["a", "b", "c"].into_iter().filter(|name| *name != other).collect();
        assert_eq!(elect(ADDRESS, &candidates(&left, &[])), Some(first));
        assert_eq!(elect(ADDRESS, &[]), None);
    }

    #[test]
    fn addresses_are_spread() {
        let names = ["a", "b", "c", "d"];
        let mut counts = [0; 4];
        for last in 0..200 {
            let winner = elect(Ipv4Addr::new(10, 0, 0, last), &candidates(&names, &[])).unwrap();
            counts[names.iter().position(|name| *name == winner).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| *count > 25), "{counts:?}");
    }
}
