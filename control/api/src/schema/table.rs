//! The embedded table, read in place: decompressed once into one block, with accessors and no parsed copy.
//! Its layout is drawn in `control/api/schema/generate.py`.

use std::io::Read;
use std::sync::OnceLock;

use flate2::read::DeflateDecoder;

static PACKED: &[u8] = include_bytes!("table.bin");
static TABLE: OnceLock<Table> = OnceLock::new();

const NONE: u16 = u16::MAX;
const HEADER: usize = 4 + 5 * 2;
const TYPE_ROW: usize = 8;
const FIELD_ROW: usize = 16;
const KIND_ROW: usize = 8;

/// A type of the table, such as `io.k8s.api.core.v1.PodSpec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeRef(u16);

/// What one value is, whatever list or map it sits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    String,
    Int32,
    Int64,
    Bool,
    Double,
    /// Base64 in JSON.
    Bytes,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    /// Any JSON.
    Any,
    /// Any JSON, which protobuf carries as its text (RawExtension, FieldsV1).
    Raw,
    Duration,
}

const KINDS: [Kind; 14] = [
    Kind::Object,
    Kind::String,
    Kind::Int32,
    Kind::Int64,
    Kind::Bool,
    Kind::Double,
    Kind::Bytes,
    Kind::Quantity,
    Kind::IntOrString,
    Kind::Time,
    Kind::MicroTime,
    Kind::Any,
    Kind::Raw,
    Kind::Duration,
];

/// What surrounds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One,
    List,
    Map,
    MapOfLists,
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    Map,
    Set,
    Atomic,
}

/// One field of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    index: u16,
    name: u16,
    ty: u16,
    go: u16,
    merge_key: u16,
    keys: u16,
    number: u16,
    flags: u16,
    kind: u8,
    shape: u8,
}

const POINTER: u16 = 1;
const OMIT_EMPTY: u16 = 1 << 1;
const REQUIRED: u16 = 1 << 2;
const LIST_MAP: u16 = 1 << 3;
const LIST_SET: u16 = 1 << 4;
const LIST_ATOMIC: u16 = 1 << 5;
const PATCH_MERGE: u16 = 1 << 6;
const RETAIN_KEYS: u16 = 1 << 7;
const INLINE: u16 = 1 << 8;
const ATOMIC_MAP: u16 = 1 << 9;

impl Field {
    /// The JSON name; empty for an embedded struct, which only protobuf knows.
    pub fn name(self) -> &'static str {
        table().string(self.name)
    }

    pub fn kind(self) -> Kind {
        KINDS[usize::from(self.kind).min(KINDS.len() - 1)]
    }

    pub fn shape(self) -> Shape {
        match self.shape {
            0 => Shape::One,
            1 => Shape::List,
            2 => Shape::Map,
            _ => Shape::MapOfLists,
        }
    }

    /// The object type of the value, or of the values in its list or map.
    pub fn ty(self) -> Option<TypeRef> {
        (self.ty != NONE && self.kind() == Kind::Object).then_some(TypeRef(self.ty))
    }

    /// The name that Go's messages give a named scalar: `v1.Protocol`.
    pub fn go_type(self) -> Option<&'static str> {
        table().optional(self.go)
    }

    /// `x-kubernetes-patch-merge-key`.
    pub fn merge_key(self) -> Option<&'static str> {
        table().optional(self.merge_key)
    }

    /// `x-kubernetes-list-map-keys`; empty where there are none.
    pub fn list_map_keys(self) -> Vec<&'static str> {
        table().key_list(self.keys)
    }

    /// `x-kubernetes-list-type`.
    pub fn list_type(self) -> Option<ListType> {
        match self.flags & (LIST_MAP | LIST_SET | LIST_ATOMIC) {
            LIST_MAP => Some(ListType::Map),
            LIST_SET => Some(ListType::Set),
            LIST_ATOMIC => Some(ListType::Atomic),
            _ => None,
        }
    }

    /// The protobuf field number, where the type has one.
    pub fn number(self) -> Option<u16> {
        (self.number != NONE).then_some(self.number)
    }

    /// A Go pointer: zero is a value of its own.
    pub fn pointer(self) -> bool {
        self.flags & POINTER != 0
    }

    pub fn omit_empty(self) -> bool {
        self.flags & OMIT_EMPTY != 0
    }

    pub fn required(self) -> bool {
        self.flags & REQUIRED != 0
    }

    /// Strategic merge merges this list (by key, or as a set of scalars) instead of replacing it.
    pub fn patch_merge(self) -> bool {
        self.flags & PATCH_MERGE != 0
    }

    pub fn retain_keys(self) -> bool {
        self.flags & RETAIN_KEYS != 0
    }

    /// A Go struct embedded in its parent: its fields are the parent's in JSON, a nested message in protobuf.
    pub fn inline(self) -> bool {
        self.flags & INLINE != 0
    }

    /// `x-kubernetes-map-type: atomic`, on the field or on its type.
    pub fn atomic_map(self) -> bool {
        self.flags & ATOMIC_MAP != 0 || (self.shape() == Shape::One && self.ty().is_some_and(TypeRef::atomic))
    }

    /// Its place among all fields of the table, where its description is found.
    pub(crate) fn index(self) -> usize {
        usize::from(self.index)
    }
}

impl TypeRef {
    /// `io.k8s.api.core.v1.PodSpec`.
    pub fn name(self) -> &'static str {
        table().string(self.row().0)
    }

    /// The type's last two words, as Go's messages have them: `v1.PodSpec`.
    pub fn go_name(self) -> &'static str {
        let name = self.name();
        let cut = name.rmatch_indices('.').nth(1).map_or(0, |(at, _)| at + 1);
        &name[cut..]
    }

    /// `PodSpec`.
    pub fn short_name(self) -> &'static str {
        self.name().rsplit('.').next().unwrap_or_default()
    }

    /// Fields by name, then embedded structs.
    pub fn fields(self) -> impl ExactSizeIterator<Item = Field> {
        let (_, first, count, _) = self.row();
        (first..first + count).map(|index| table().field(index))
    }

    /// The field of a JSON name.
    pub fn field(self, name: &str) -> Option<Field> {
        let (_, first, count, _) = self.row();
        let (mut low, mut high) = (first, first + count);
        while low < high {
            let middle = low + (high - low) / 2;
            let field = table().field(middle);
            match field.name() {
                "" => high = middle,
                found if found < name => low = middle + 1,
                found if found > name => high = middle,
                _ => return Some(field),
            }
        }
        None
    }

    /// The field of a protobuf number.
    pub fn field_number(self, number: u64) -> Option<Field> {
        self.fields().find(|field| field.number().is_some_and(|own| u64::from(own) == number))
    }

    /// `x-kubernetes-map-type: atomic`.
    pub fn atomic(self) -> bool {
        self.row().3 & ATOMIC_MAP != 0
    }

    /// Its place among all types of the table, where its description is found.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    fn row(self) -> (u16, u16, u16, u16) {
        let table = table();
        let at = table.types + usize::from(self.0) * TYPE_ROW;
        (table.u16(at), table.u16(at + 2), table.u16(at + 4), table.u16(at + 6))
    }
}

/// A kind with a type of its own: group, version, kind, type.
pub(crate) type KindRow = (&'static str, &'static str, &'static str, TypeRef);

/// Every kind the table was made for.
pub(crate) fn kinds() -> impl Iterator<Item = KindRow> {
    let table = table();
    (0..table.kind_count).map(move |index| {
        let at = table.kinds + index * KIND_ROW;
        let word = |offset| table.string(table.u16(at + offset));
        (word(0), word(2), word(4), TypeRef(table.u16(at + 6)))
    })
}

/// Counts of types and of fields, in the order in which descriptions follow each other.
pub(crate) fn counts() -> (usize, usize) {
    let table = table();
    (table.type_count, table.field_count)
}

/// The compressed table, which stands for its content in hashes.
pub(crate) fn packed() -> &'static [u8] {
    PACKED
}

struct Table {
    data: Box<[u8]>,
    string_ends: usize,
    string_bytes: usize,
    types: usize,
    type_count: usize,
    fields: usize,
    field_count: usize,
    kinds: usize,
    kind_count: usize,
    key_lists: usize,
}

fn table() -> &'static Table {
    TABLE.get_or_init(|| Table::read(unpack(PACKED)))
}

/// Inflates a block that starts with its inflated length.
pub(crate) fn unpack(packed: &[u8]) -> Box<[u8]> {
    let (head, body) = packed.split_first_chunk::<4>().expect("an embedded block starts with its length");
    let mut data = Vec::with_capacity(u32::from_le_bytes(*head) as usize);
    DeflateDecoder::new(body).read_to_end(&mut data).expect("an embedded block inflates");
    data.into_boxed_slice()
}

impl Table {
    fn read(data: Box<[u8]>) -> Self {
        assert!(data.starts_with(b"BST1"), "the embedded table has this version");
        let count = |at: usize| usize::from(u16::from_le_bytes([data[at], data[at + 1]]));
        let (strings, type_count, field_count, kind_count) = (count(4), count(6), count(8), count(10));
        let string_bytes = HEADER + (strings + 1) * 4;
        let last = HEADER + strings * 4;
        let size = u32::from_le_bytes([data[last], data[last + 1], data[last + 2], data[last + 3]]) as usize;
        let types = string_bytes + size;
        let fields = types + type_count * TYPE_ROW;
        let kinds = fields + field_count * FIELD_ROW;
        let key_lists = kinds + kind_count * KIND_ROW;
        Self {
            string_ends: HEADER,
            string_bytes,
            types,
            type_count,
            fields,
            field_count,
            kinds,
            kind_count,
            key_lists,
            data,
        }
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.data[at], self.data[at + 1]])
    }

    fn u32(&self, at: usize) -> usize {
        u32::from_le_bytes([self.data[at], self.data[at + 1], self.data[at + 2], self.data[at + 3]]) as usize
    }

    fn string(&self, index: u16) -> &str {
        let at = self.string_ends + usize::from(index) * 4;
        let bytes = &self.data[self.string_bytes + self.u32(at)..self.string_bytes + self.u32(at + 4)];
        std::str::from_utf8(bytes).expect("names in the embedded table are UTF-8")
    }

    fn optional(&self, index: u16) -> Option<&str> {
        (index != NONE).then(|| self.string(index))
    }

    fn field(&self, index: u16) -> Field {
        let at = self.fields + usize::from(index) * FIELD_ROW;
        Field {
            index,
            name: self.u16(at),
            ty: self.u16(at + 2),
            go: self.u16(at + 4),
            merge_key: self.u16(at + 6),
            keys: self.u16(at + 8),
            number: self.u16(at + 10),
            flags: self.u16(at + 12),
            kind: self.data[at + 14],
            shape: self.data[at + 15],
        }
    }

    fn key_list(&self, wanted: u16) -> Vec<&str> {
        if wanted == NONE {
            return Vec::new();
        }
        let mut at = self.key_lists;
        for _ in 0..wanted {
            at += 2 + usize::from(self.u16(at)) * 2;
        }
        (0..usize::from(self.u16(at))).map(|key| self.string(self.u16(at + 2 + key * 2))).collect()
    }
}
