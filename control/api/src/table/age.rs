//! Ages as kubectl prints them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object::text;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A duration in one or two units, as short as its size allows: `90s`, `5m10s`, `3h`, `2d4h`, `3y20d`.
pub fn human_duration(seconds: i64) -> String {
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        small => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two(seconds / HOUR, "h", seconds / MINUTE % 60, "m"),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two(seconds / DAY, "d", seconds / HOUR % 24, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(seconds / YEAR, "y", seconds / DAY % 365, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// The time since the RFC 3339 time `then`.
pub(super) fn since_text(then: &str, now: Timestamp) -> String {
    match then.parse::<Timestamp>() {
        Ok(then) => human_duration((now.as_millisecond() - then.as_millisecond()).div_euclid(1000)),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// The cell of an object's age.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    json!(since_text(text(object, "/metadata/creationTimestamp"), now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_short_as_kubectl_prints_them() {
        for (seconds, wanted) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (131, "2m11s"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (7 * HOUR + 5 * MINUTE, "7h5m"),
            (8 * HOUR, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + 4 * HOUR, "2d4h"),
            (8 * DAY + HOUR, "8d"),
            (729 * DAY, "729d"),
            (2 * YEAR + 3 * DAY, "2y3d"),
            (8 * YEAR + 3 * DAY, "8y"),
        ] {
            assert_eq!(human_duration(seconds), wanted);
        }
    }

    #[test]
    fn a_missing_time_is_unknown() {
        assert_eq!(since_text("", Timestamp::UNIX_EPOCH), "<unknown>");
        assert_eq!(since_text("1969-12-31T23:59:00Z", Timestamp::UNIX_EPOCH), "60s");
        assert_eq!(since_text("1969-12-31T23:59:00.500000Z", Timestamp::UNIX_EPOCH), "59s");
    }
}
