//! Completion indexes as Kubernetes writes them: `1,3-5,7`.

use std::collections::BTreeSet;

pub(super) type Indexes = BTreeSet<u32>;

/// Reads what was written; indexes from `count` on are none of the Job any more.
pub(super) fn parse(text: &str, count: u32) -> Indexes {
    let mut found = Indexes::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else { continue };
        // Bounded by the Job's own count, whatever the text says.
        found.extend(first..=last.min(count.saturating_sub(1)));
    }
    found.retain(|index| *index < count);
    found
}

pub(super) fn write(indexes: &Indexes) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut all = indexes.iter().copied().peekable();
    while let Some(first) = all.next() {
        let mut last = first;
        while all.peek() == Some(&(last + 1)) {
            last += 1;
            all.next();
        }
        parts.push(match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7", "0,1,3-5"] {
            assert_eq!(write(&parse(text, 10)), text);
        }
        assert_eq!(write(&parse("1,3-500,7", 5)), "1,3,4");
        assert_eq!(write(&parse("x,1-,2", 5)), "2");
        assert!(parse("0-4294967295", 0).is_empty());
    }
}
