//! Netlink's attributes: length, kind, value, padded to 4 bytes. Numbers in nfnetlink's are big-endian.

const NESTED: u16 = 0x8000;
const HEAD: usize = 4;

pub(crate) fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + HEAD).expect("an attribute is below 64 KiB");
    to.extend_from_slice(&length.to_ne_bytes());
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

pub(crate) fn text(to: &mut Vec<u8>, kind: u16, value: &str) {
    let length = u16::try_from(value.len() + HEAD + 1).expect("an attribute is below 64 KiB");
    to.extend_from_slice(&length.to_ne_bytes());
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(value.as_bytes());
    to.push(0);
    to.resize(to.len().next_multiple_of(4), 0);
}

pub(crate) fn number(to: &mut Vec<u8>, kind: u16, value: u32) {
    attribute(to, kind, &value.to_be_bytes());
}

pub(crate) fn long(to: &mut Vec<u8>, kind: u16, value: u64) {
    attribute(to, kind, &value.to_be_bytes());
}

pub(crate) fn nested(to: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend_from_slice(&[0; 2]);
    to.extend_from_slice(&(kind | NESTED).to_ne_bytes());
    fill(to);
    let length = u16::try_from(to.len() - start).expect("an attribute is below 64 KiB");
    to[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

/// The attributes in these bytes, up to the first that is malformed.
pub(crate) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let head = self.0.first_chunk::<HEAD>()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & !NESTED & !0x4000;
        let value = self.0.get(HEAD..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'a> Attributes<'a> {
    pub fn find(bytes: &'a [u8], kind: u16) -> Option<&'a [u8]> {
        Attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// A value below nested attributes.
    pub fn at(bytes: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
        path.iter().try_fold(bytes, |bytes, kind| Self::find(bytes, *kind))
    }
}

pub(crate) fn as_text(value: &[u8]) -> &str {
    std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_padded_but_its_length_is_not() {
        let mut bytes = Vec::new();
        text(&mut bytes, 1, "ab");
        assert_eq!(bytes, [7u16.to_ne_bytes(), 1u16.to_ne_bytes(), [b'a', b'b'], [0, 0]].concat());
    }

    #[test]
    fn what_is_nested_is_found_again_and_what_is_cut_is_not() {
        let mut bytes = Vec::new();
        number(&mut bytes, 7, 1);
        nested(&mut bytes, 2, |to| text(to, 3, "deep"));
        assert_eq!(Attributes::at(&bytes, &[2, 3]).map(as_text), Some("deep"));
        for length in 0..bytes.len() {
            assert_eq!(Attributes::at(&bytes[..length], &[2, 3]), None);
        }
    }

    #[test]
    fn an_attribute_shorter_than_its_head_ends_the_reading() {
        assert_eq!(Attributes(&[0, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
    }
}
