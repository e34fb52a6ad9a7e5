//! `bramble token`: what lets nodes in. Works on the data folder, so it needs no running server.

use std::time::Duration;

/// Reads `30m`, `24h`, `30d`, `45s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 30m, 24h or 30d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    if count == 0 {
        return Err(format!("{text:?} is over before it began"));
    }
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86400)));
        for wrong in ["", "d", "5", "-1h", "0h", "1.5h", "99999999999999999999d", "1ä"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
