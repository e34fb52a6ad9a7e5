//! The descriptions of types and fields: a second block, inflated only while a document is made.

use super::table::{Field, TypeRef, counts, unpack};

static PACKED: &[u8] = include_bytes!("descriptions.bin");

/// The inflated texts; drop it when the document is done.
pub(crate) struct Descriptions {
    data: Box<[u8]>,
    texts: usize,
    index: usize,
    types: usize,
}

impl Descriptions {
    pub(crate) fn load() -> Self {
        let data = unpack(PACKED);
        let word = |at: usize| u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]) as usize;
        let count = word(0);
        let texts = 4 + count * 4;
        let index = texts + word(count * 4);
        Self { texts, index, types: counts().0, data }
    }

    pub(crate) fn of_type(&self, ty: TypeRef) -> &str {
        self.text(ty.index())
    }

    pub(crate) fn of_field(&self, field: Field) -> &str {
        self.text(self.types + field.index())
    }

    fn text(&self, place: usize) -> &str {
        let at = self.index + place * 2;
        let number = usize::from(u16::from_le_bytes([self.data[at], self.data[at + 1]]));
        let start = if number == 0 { 0 } else { self.end(number - 1) };
        let bytes = &self.data[self.texts + start..self.texts + self.end(number)];
        std::str::from_utf8(bytes).expect("descriptions in the embedded block are UTF-8")
    }

    fn end(&self, number: usize) -> usize {
        let at = 4 + number * 4;
        u32::from_le_bytes([self.data[at], self.data[at + 1], self.data[at + 2], self.data[at + 3]]) as usize
    }
}
