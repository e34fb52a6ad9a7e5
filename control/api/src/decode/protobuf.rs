//! Kubernetes' protobuf to a value: the envelope, then the object by the schema table's field numbers.
//!
//! kubectl and Helm send typed objects this way and do not fall back to JSON. What comes out is what Go's JSON encoder
//! would have written for the same object: zero values that are optional and no pointers are left out.

mod scalar;
mod wire;

use serde_json::{Map, Value};

use super::Decoded;
use crate::Status;
use crate::schema::{Field, Kind, Shape, TypeRef, for_kind};
use wire::{Reader, Wire};

/// Before every Kubernetes protobuf body.
const MAGIC: &[u8] = b"k8s\0";

/// Nesting beyond which a body is refused.
const DEPTH_MAX: usize = 100;

/// Values in one body; a byte of input could otherwise cost a hundred in memory.
const VALUES_MAX: usize = 1 << 20;

/// A body that cannot be read; the text says where.
#[derive(Debug, thiserror::Error)]
enum WireError {
    #[error("proto: unexpected end of the message")]
    Truncated,
    #[error("proto: illegal tag or varint")]
    Malformed,
    #[error("proto: wrong wire type for field {0}")]
    WireType(&'static str),
    #[error("proto: field {0} is not valid UTF-8")]
    NotUtf8(&'static str),
    #[error("proto: field {0} does not hold a valid value")]
    Value(&'static str),
    #[error("proto: exceeded max depth or size")]
    TooLarge,
}

/// Decodes an `application/vnd.kubernetes.protobuf` body; `fallback` is the type where the envelope names none.
pub fn decode_protobuf(body: &[u8], fallback: Option<TypeRef>) -> Result<Decoded, Status> {
    let Some(envelope) = body.strip_prefix(MAGIC) else {
        return Err(Status::bad_request(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        ));
    };
    let refuse = |error: WireError| Status::bad_request(error.to_string());
    let envelope = Envelope::read(envelope).map_err(refuse)?;
    let Envelope { api_version, kind, raw } = &envelope;
    let ty = match (for_kind(api_version, kind), fallback) {
        (Some(ty), _) => ty,
        (None, Some(ty)) if kind.is_empty() => ty,
        _ => {
            return Err(Status::bad_request(format!("no kind \"{kind}\" is registered for version \"{api_version}\"")));
        }
    };
    let mut fields = Map::new();
    for (name, text) in [("kind", kind), ("apiVersion", api_version)] {
        if !text.is_empty() {
            fields.insert(name.to_owned(), Value::String(text.clone()));
        }
    }
    let mut decoder = Decoder { values: 0 };
    decoder.message(raw, ty, &mut fields, 0).map_err(refuse)?;
    Ok(Decoded { value: Value::Object(fields), duplicates: Vec::new() })
}

/// `runtime.Unknown`: typeMeta = 1 {apiVersion = 1, kind = 2}, raw = 2.
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut envelope = Self { api_version: String::new(), kind: String::new(), raw: &[] };
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, Wire::Bytes(meta)) => envelope.type_meta(meta)?,
                (2, Wire::Bytes(raw)) => envelope.raw = raw,
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn type_meta(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            match (number, wire) {
                (1, wire @ Wire::Bytes(_)) => self.api_version = scalar::text(wire, "apiVersion")?,
                (2, wire @ Wire::Bytes(_)) => self.kind = scalar::text(wire, "kind")?,
                _ => {}
            }
        }
        Ok(())
    }
}

struct Decoder {
    values: usize,
}

impl Decoder {
    fn message(
        &mut self,
        bytes: &[u8],
        ty: TypeRef,
        fields: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), WireError> {
        if depth > DEPTH_MAX {
            return Err(WireError::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            // Numbers that the table lacks are fields of a newer client: dropped, as Go does.
            let Some(field) = ty.field_number(number) else { continue };
            self.values += 1;
            if self.values > VALUES_MAX {
                return Err(WireError::TooLarge);
            }
            match (field.inline(), field.shape()) {
                (true, _) => {
                    let (Wire::Bytes(bytes), Some(ty)) = (wire, field.ty()) else {
                        return Err(WireError::WireType("of an embedded struct"));
                    };
                    self.message(bytes, ty, fields, depth + 1)?;
                }
                (false, Shape::One) => self.one(wire, field, fields, depth)?,
                (false, Shape::List) => self.item(wire, field, fields, depth)?,
                (false, Shape::Map | Shape::MapOfLists) => self.entry(wire, field, fields, depth)?,
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        wire: Wire<'_>,
        field: Field,
        fields: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), WireError> {
        let value = self.value(wire, field, depth)?;
        if !(value.is_null() || field.omit_empty() && !field.pointer() && is_zero(&value, field)) {
            fields.insert(field.name().to_owned(), value);
        } else {
            // The last one counts, also where it says zero.
            fields.shift_remove(field.name());
        }
        Ok(())
    }

    fn item(
        &mut self,
        wire: Wire<'_>,
        field: Field,
        fields: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), WireError> {
        let packed = matches!(field.kind(), Kind::Int32 | Kind::Int64 | Kind::Bool);
        let list = fields.entry(field.name()).or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(list) = list else { return Err(WireError::Value(field.name())) };
        if let (true, Wire::Bytes(bytes)) = (packed, wire) {
            let mut reader = Reader::new(bytes);
            while !reader.is_empty() {
                self.values += 1;
                if self.values > VALUES_MAX {
                    return Err(WireError::TooLarge);
                }
                list.push(self.value(Wire::Varint(reader.varint()?), field, depth)?);
            }
            return Ok(());
        }
        let value = self.value(wire, field, depth)?;
        list.push(value);
        Ok(())
    }

    /// A map's entry is a message {key = 1, value = 2}; absent ones are the zero value.
    fn entry(
        &mut self,
        wire: Wire<'_>,
        field: Field,
        fields: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), WireError> {
        let Wire::Bytes(bytes) = wire else { return Err(WireError::WireType(field.name())) };
        let (mut key, mut found) = (String::new(), None);
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => key = scalar::text(wire, field.name())?,
                2 => found = Some(wire),
                _ => {}
            }
        }
        let value = match (field.shape(), found) {
            (Shape::MapOfLists, Some(Wire::Bytes(items))) => strings(items, field)?,
            (Shape::MapOfLists, _) => Value::Array(Vec::new()),
            (_, Some(wire)) => self.value(wire, field, depth)?,
            (_, None) => {
                self.value(Wire::Bytes(&[]), field, depth).or_else(|_| self.value(Wire::Varint(0), field, depth))?
            }
        };
        let map = fields.entry(field.name()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(map) = map {
            map.insert(key, value);
        }
        Ok(())
    }

    fn value(&mut self, wire: Wire<'_>, field: Field, depth: usize) -> Result<Value, WireError> {
        match (field.kind(), field.ty(), wire) {
            (Kind::Object, Some(ty), Wire::Bytes(bytes)) => {
                let mut fields = Map::new();
                self.message(bytes, ty, &mut fields, depth + 1)?;
                Ok(Value::Object(fields))
            }
            (Kind::Object, _, _) => Err(WireError::WireType(field.name())),
            _ => scalar::value(wire, field.kind(), field.name()),
        }
    }
}

/// `ExtraValue {items = 1}`.
fn strings(bytes: &[u8], field: Field) -> Result<Value, WireError> {
    let mut items = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            items.push(Value::String(scalar::text(wire, field.name())?));
        }
    }
    Ok(Value::Array(items))
}

/// Go's zero, which its JSON encoder leaves out where the field says `omitempty`. A struct is never left out.
fn is_zero(value: &Value, field: Field) -> bool {
    match value {
        Value::String(text) => text.is_empty() && !matches!(field.kind(), Kind::IntOrString | Kind::Quantity),
        Value::Bool(bool) => !bool,
        Value::Number(number) => number.as_f64() == Some(0.0) && field.kind() != Kind::IntOrString,
        _ => false,
    }
}
