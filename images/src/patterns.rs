//! Lists of paths with stars, as in `boards/`.

/// Whether a star pattern fits the whole text; a star is any characters, slashes too.
pub fn fits(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    if rest.is_empty() {
        return true;
    }
    (0..=text.len()).any(|at| text.get(at..).is_some_and(|text| fits(rest, text)))
}

/// Whether the last line that fits takes the text, and does not begin with `!`.
pub fn takes(lines: &[&str], text: &str) -> bool {
    let fit = |line: &&&str| fits(line.trim_start_matches('!'), text);
    lines.iter().rev().find(fit).is_some_and(|line| !line.starts_with('!'))
}

#[cfg(test)]
mod tests {
    use super::{fits, takes};

    #[test]
    fn a_star_is_any_characters() {
        for (pattern, text, expected) in [
            ("net/*", "net/core/x.ko", true),
            ("net/*", "fs/net/x.ko", false),
            ("drivers/*rp1*", "drivers/mfd/rp1.ko.xz", true),
            ("*.ko", "a.ko.xz", false),
            ("a", "a", true),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_last_line_that_fits_decides() {
        let lines = ["net/*", "!net/nfc/*", "net/nfc/nfc.ko"];
        assert!(takes(&lines, "net/core/x.ko") && takes(&lines, "net/nfc/nfc.ko"));
        assert!(!takes(&lines, "net/nfc/other.ko") && !takes(&lines, "fs/x.ko"));
    }
}
