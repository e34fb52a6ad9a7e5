//! Leaves of a protobuf message: numbers and strings, and the small messages that JSON writes as one value.

use base64::Engine;
use jiff::Timestamp;
use serde_json::{Number, Value};

use super::WireError;
use super::wire::{Reader, Wire};
use crate::schema::Kind;

pub(super) fn text(wire: Wire<'_>, name: &'static str) -> Result<String, WireError> {
    let Wire::Bytes(bytes) = wire else { return Err(WireError::WireType(name)) };
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| WireError::NotUtf8(name))
}

pub(super) fn value(wire: Wire<'_>, kind: Kind, name: &'static str) -> Result<Value, WireError> {
    match (kind, wire) {
        (Kind::String, wire) => text(wire, name).map(Value::String),
        // A negative int32 travels as ten bytes of int64; the low half is the value.
        (Kind::Int32, Wire::Varint(raw)) => Ok(Value::from(raw as i32)),
        (Kind::Int64, Wire::Varint(raw)) => Ok(Value::from(raw as i64)),
        (Kind::Bool, Wire::Varint(raw)) => Ok(Value::Bool(raw != 0)),
        (Kind::Double, Wire::Fixed64(raw)) => {
            Number::from_f64(f64::from_bits(raw)).map(Value::Number).ok_or(WireError::Value(name))
        }
        (Kind::Bytes, Wire::Bytes(bytes)) => Ok(Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))),
        (Kind::Quantity, Wire::Bytes(bytes)) => quantity(bytes, name),
        (Kind::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes, name),
        (Kind::Time, Wire::Bytes(bytes)) => time(bytes, name, false),
        (Kind::MicroTime, Wire::Bytes(bytes)) => time(bytes, name, true),
        (Kind::Raw | Kind::Any, Wire::Bytes(bytes)) => raw(bytes, name),
        (Kind::Duration, Wire::Bytes(bytes)) => {
            let nanos = varints(bytes)?[0] as i64;
            Ok(Value::String(format!("{}s", nanos as f64 / 1e9)))
        }
        _ => Err(WireError::WireType(name)),
    }
}

/// `Quantity {string = 1}`; an empty one is zero.
fn quantity(bytes: &[u8], name: &'static str) -> Result<Value, WireError> {
    let mut found = String::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            found = text(wire, name)?;
        }
    }
    Ok(Value::String(if found.is_empty() { "0".to_owned() } else { found }))
}

/// `IntOrString {type = 1, intVal = 2, strVal = 3}`; type 0 is the number.
fn int_or_string(bytes: &[u8], name: &'static str) -> Result<Value, WireError> {
    let (mut is_text, mut int, mut string) = (false, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        match (number, wire) {
            (1, Wire::Varint(raw)) => is_text = raw != 0,
            (2, Wire::Varint(raw)) => int = raw as i32,
            (3, wire) => string = text(wire, name)?,
            _ => {}
        }
    }
    Ok(if is_text { Value::String(string) } else { Value::from(int) })
}

/// `Time {seconds = 1, nanos = 2}`; the zero time is null. JSON has whole seconds, or six digits for a MicroTime.
fn time(bytes: &[u8], name: &'static str, micro: bool) -> Result<Value, WireError> {
    let [seconds, nanos] = varints(bytes)?;
    if seconds == 0 && nanos == 0 {
        return Ok(Value::Null);
    }
    let nanos = if micro { nanos as i32 } else { 0 };
    let time = Timestamp::new(seconds as i64, nanos).map_err(|_| WireError::Value(name))?;
    Ok(Value::String(if micro { format!("{time:.6}") } else { format!("{time:.0}") }))
}

/// The varints of fields 1 and 2.
fn varints(bytes: &[u8]) -> Result<[u64; 2], WireError> {
    let mut found = [0; 2];
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if let (1 | 2, Wire::Varint(raw)) = (number, wire) {
            found[number as usize - 1] = raw;
        }
    }
    Ok(found)
}

/// `RawExtension` and `FieldsV1`: field 1 holds JSON text.
fn raw(bytes: &[u8], name: &'static str) -> Result<Value, WireError> {
    let mut found = Value::Null;
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if let (1, Wire::Bytes(json)) = (number, wire)
            && !json.is_empty()
        {
            found = serde_json::from_slice(json).map_err(|_| WireError::Value(name))?;
        }
    }
    Ok(found)
}
