//! Domain names, in their wire form without compression.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::Malformed;

/// Bytes of a whole name, as RFC 1035 has it.
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
/// Pointers followed in one name; a name has at most 127 labels.
const POINTERS_MAX: usize = 127;

/// Keeps the case that it was written in; compared without it.
#[derive(Clone)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The root.
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// A name of labels that are written with dots; the last one may be missing.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let labels = if text.is_empty() { Vec::new() } else { text.split('.').map(str::as_bytes).collect() };
        Self::from_labels(labels)
    }

    /// None where a label or the whole is too long, or a label is empty.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut wire = Vec::with_capacity(64);
        for label in labels {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX {
                return None;
            }
            wire.push(u8::try_from(label.len()).ok()?);
            wire.extend_from_slice(label);
        }
        wire.push(0);
        (wire.len() <= NAME_BYTES_MAX).then(|| Self(wire.into()))
    }

    /// Reads the name at `at`, and gives the place behind it. Pointers lead backwards only, so that reading ends.
    pub fn read(message: &[u8], at: usize) -> Result<(Self, usize), Malformed> {
        let (mut wire, mut place, mut behind, mut pointers) = (Vec::with_capacity(64), at, None, 0);
        loop {
            let length = *message.get(place).ok_or(Malformed)?;
            match length >> 6 {
                0 => {
                    let label = message.get(place..=place + usize::from(length)).ok_or(Malformed)?;
                    wire.extend_from_slice(label);
                    if wire.len() > NAME_BYTES_MAX {
                        return Err(Malformed);
                    }
                    place += label.len();
                    if length == 0 {
                        return Ok((Self(wire.into()), behind.unwrap_or(place)));
                    }
                }
                3 => {
                    let low = *message.get(place + 1).ok_or(Malformed)?;
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    pointers += 1;
                    if target >= place || pointers > POINTERS_MAX {
                        return Err(Malformed);
                    }
                    behind.get_or_insert(place + 2);
                    place = target;
                }
                _ => return Err(Malformed),
            }
        }
    }

    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// From the left; without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let length = usize::from(*rest.first()?);
            let label = rest.get(1..=length).filter(|label| !label.is_empty())?;
            rest = &rest[length + 1..];
            Some(label)
        })
    }

    /// In lower case and without the last dot; bytes that are no text become marks that match nothing.
    pub fn lower(&self) -> Vec<String> {
        self.labels().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // Lengths of labels are below 64, where there are no letters.
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in &self.0 {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in self.labels() {
            write!(formatter, "{}.", label.escape_ascii())?;
        }
        if self.0.len() == 1 { formatter.write_str(".") } else { Ok(()) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_through_pointers_that_lead_backwards() {
        let message = b"\x03www\x07example\x00\x03ftp\xc0\x04";
        let (name, behind) = Name::read(message, 13).expect("is a name");
        assert_eq!((name.to_string().as_str(), behind), ("ftp.example.", 19));
    }

    #[test]
    fn loops_cut_names_and_names_that_are_too_long_are_refused() {
        assert_eq!(Name::read(b"\xc0\x00", 0), Err(Malformed));
        assert_eq!(Name::read(b"\x01a\xc0\x02", 0), Err(Malformed));
        assert_eq!(Name::read(b"\x05abc", 0), Err(Malformed));
        assert_eq!(Name::read(b"\x41abc", 0), Err(Malformed));
        let long: Vec<u8> = std::iter::repeat_n(b"\x03abc".as_slice(), 64).flatten().copied().chain([0]).collect();
        assert_eq!(Name::read(&long, 0), Err(Malformed));
        assert!(Name::parse(&"a".repeat(64)).is_none());
        assert!(Name::parse("a..b").is_none());
    }

    #[test]
    fn case_is_kept_and_does_not_matter() {
        let (mixed, low) = (Name::parse("WwW.Example").expect("a name"), Name::parse("www.example.").expect("a name"));
        assert_eq!(mixed, low);
        assert_eq!(mixed.to_string(), "WwW.Example.");
    }
}
