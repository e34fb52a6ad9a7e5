//! Sets of numbers as ranges that neither overlap nor touch, as the kernel wants them.

use std::net::Ipv4Addr;

use control_api::Ipv4Range;

/// First and last, both included.
pub(crate) type Span<T> = (T, T);

/// The addresses of a block without those of the exceptions.
pub(crate) fn block(block: Ipv4Range, except: &[Ipv4Range]) -> Vec<Span<u32>> {
    let span = |range: &Ipv4Range| (u32::from(range.base()), u32::from(range.last()));
    let (mut next, last) = span(&block);
    let mut found = Vec::new();
    for (from, to) in merged(except.iter().map(span)) {
        if to < next {
            continue;
        }
        if from > last {
            break;
        }
        if from > next {
            found.push((next, from - 1));
        }
        match to.checked_add(1) {
            Some(after) if after <= last => next = after,
            _ => return found,
        }
    }
    found.push((next, last));
    found
}

/// The same numbers in as few ranges as there can be.
pub(crate) fn merged<T: Ord + Copy + Into<u32>>(spans: impl IntoIterator<Item = Span<T>>) -> Vec<Span<T>> {
    let mut spans: Vec<Span<T>> = spans.into_iter().collect();
    spans.sort_unstable();
    let mut found: Vec<Span<T>> = Vec::new();
    for (from, to) in spans {
        match found.last_mut() {
            Some((_, last)) if Into::<u32>::into(*last).saturating_add(1) >= from.into() => *last = (*last).max(to),
            _ => found.push((from, to)),
        }
    }
    found
}

pub(crate) fn addresses((from, to): Span<u32>) -> Span<Ipv4Addr> {
    (from.into(), to.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(block: &str, except: &[&str]) -> String {
        let except: Vec<Ipv4Range> = except.iter().map(|range| range.parse().unwrap()).collect();
        let spans = super::block(block.parse().unwrap(), &except);
        let spans: Vec<String> = spans.into_iter().map(addresses).map(|(a, b)| format!("{a}-{b}")).collect();
        spans.join(" ")
    }

    #[test]
    fn exceptions_are_cut_out_of_a_block() {
        assert_eq!(text("10.0.0.0/8", &[]), "10.0.0.0-10.255.255.255");
        assert_eq!(text("0.0.0.0/0", &["0.0.0.0/0"]), "");
        assert_eq!(
            text("0.0.0.0/0", &["255.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/32"]),
            "0.0.0.1-9.255.255.255 11.0.0.0-254.255.255.255"
        );
        assert_eq!(text("10.0.0.0/24", &["192.168.0.0/16", "10.0.0.128/25"]), "10.0.0.0-10.0.0.127");
    }

    proptest! {
        #[test]
        fn merging_keeps_each_number_and_adds_none(spans in prop::collection::vec((0u16..50, 0u16..50), 0..8)) {
            let spans: Vec<Span<u16>> = spans.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let merged = merged(spans.clone());
            for number in 0..60 {
                let within = |spans: &[Span<u16>]| spans.iter().filter(|(a, b)| (*a..=*b).contains(&number)).count();
                prop_assert_eq!(within(&spans).min(1), within(&merged));
            }
        }
    }
}
