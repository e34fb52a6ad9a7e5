//! One line of a CRI log: `2026-11-23T20:13:24.123456789Z stdout F text`.

/// A parsed line; borrowed, since most lines are only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub time: &'a [u8],
    /// Whether the writer's line goes on in the next one (`P`), so that no newline belongs after this.
    pub partial: bool,
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a line without its newline; nothing for a line that is not in the format.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (time, stream, tags) = (parts.next()?, parts.next()?, parts.next()?);
        if stream != b"stdout" && stream != b"stderr" {
            return None;
        }
        let partial = tags.split(|byte| *byte == b':').next()? == b"P";
        Some(Self { time, partial, text: parts.next().unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_time_stream_tag_and_text() {
        let line = Line::parse(b"2026-01-01T00:00:00.5Z stderr P a b c").unwrap();
        assert_eq!((line.time, line.partial, line.text), (&b"2026-01-01T00:00:00.5Z"[..], true, &b"a b c"[..]));
        let empty = Line::parse(b"2026-01-01T00:00:00.5Z stdout F ").unwrap();
        assert_eq!((empty.partial, empty.text), (false, &b""[..]));
        assert!(Line::parse(b"not a log line at all").is_none());
        assert!(Line::parse(b"").is_none());
    }
}
