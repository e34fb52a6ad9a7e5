//! The limit of one Endpoints object, as Kubernetes cuts it.

use control_api::view::core::EndpointSubset;

/// As in Kubernetes.
const ADDRESSES_MAX: usize = 1000;

/// Cuts to the limit, each subset by its share, addresses that are ready before those that are not. Says whether it did.
pub(super) fn cut(subsets: &mut [EndpointSubset]) -> bool {
    let count = |list: &Option<Vec<_>>| list.as_ref().map_or(0, Vec::len);
    let ready: usize = subsets.iter().map(|subset| count(&subset.addresses)).sum();
    let not_ready: usize = subsets.iter().map(|subset| count(&subset.not_ready_addresses)).sum();
    if ready + not_ready <= ADDRESSES_MAX {
        return false;
    }
    let cuts_ready = ready > ADDRESSES_MAX;
    let (room, total) = if cuts_ready { (ADDRESSES_MAX, ready) } else { (ADDRESSES_MAX - ready, not_ready) };
    let mut left = room;
    for subset in subsets {
        if cuts_ready {
            subset.not_ready_addresses = None;
        }
        let list = if cuts_ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        let share = (count(list) * room).div_ceil(total).min(left);
        if let Some(addresses) = list {
            addresses.truncate(share);
            left -= addresses.len();
        }
        list.take_if(|addresses| addresses.is_empty());
    }
    true
}

#[cfg(test)]
mod tests {
    use control_api::view::core::EndpointAddress;

    use super::*;

    fn subset(ready: usize, not_ready: usize) -> EndpointSubset {
        EndpointSubset {
            addresses: Some(vec![EndpointAddress::default(); ready]),
            not_ready_addresses: Some(vec![EndpointAddress::default(); not_ready]),
            ports: None,
        }
    }

    fn counts(subsets: &[EndpointSubset]) -> Vec<(usize, usize)> {
        let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
        subsets.iter().map(|one| (count(&one.addresses), count(&one.not_ready_addresses))).collect()
    }

    #[test]
    fn ready_addresses_are_kept_before_others_and_each_subset_has_its_share() {
        let mut within = [subset(900, 100)];
        assert!(!cut(&mut within));
        let mut few_ready = [subset(500, 400), subset(0, 400)];
        assert!(cut(&mut few_ready));
        assert_eq!(counts(&few_ready), [(500, 250), (0, 250)]);
        let mut many_ready = [subset(1500, 10), subset(500, 10)];
        assert!(cut(&mut many_ready));
        assert_eq!(counts(&many_ready), [(750, 0), (250, 0)]);
    }
}
