//! What Go's typed decoding does to a body, without Go's types: drop what the type lacks, refuse what cannot be read
//! into it, and leave out what its encoder would leave out.

use serde_json::{Map, Number, Value};

use super::table::{Field, Kind, Shape, TypeRef};
use crate::quantity::Quantity;

/// Nesting beyond which a body is refused; Kubernetes' own types nest under 20 deep.
const DEPTH_MAX: usize = 100;

/// A field that the type does not have, by its path: `spec.containers[0].foo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField(pub String);

/// A value of the wrong JSON type, in the words of Go's decoder: `json: cannot unmarshal string into ...`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypeError(pub String);

/// The way from the root to a value, linked up the stack; indices count for unknown fields and not in Go's messages.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Name(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

/// Drops fields that `ty` does not have and lists them, drops nulls and empty optional values as Kubernetes' own
/// encoding does, fills in the empty structs that it never leaves out, and checks every value's type.
pub fn prune(value: &mut Value, ty: TypeRef, unknown: &mut Vec<UnknownField>) -> Result<(), TypeError> {
    let Value::Object(fields) = value else {
        let found = word(value);
        return Err(TypeError(format!("json: cannot unmarshal {found} into Go value of type {}", ty.go_name())));
    };
    Pruner { unknown, depth: 0 }.fields(fields, ty, &Path::Root)
}

struct Pruner<'u> {
    unknown: &'u mut Vec<UnknownField>,
    depth: usize,
}

/// A struct that is no pointer: Go writes it even where it is empty.
fn always_there(field: Field) -> bool {
    field.kind() == Kind::Object
        && field.shape() == Shape::One
        && !field.pointer()
        && !field.inline()
        && field.ty().is_some()
        && field.name() != "metadata"
}

/// Whether Go's encoder would not write the value.
fn left_out(value: &Value, field: Field) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty() && field.omit_empty() && !field.pointer(),
        Value::Object(map) => map.is_empty() && field.omit_empty() && matches!(field.shape(), Shape::Map),
        _ if field.pointer() || !field.omit_empty() => false,
        Value::String(text) => text.is_empty() && !matches!(field.kind(), Kind::IntOrString | Kind::Quantity),
        Value::Bool(bool) => !bool,
        Value::Number(number) => number.as_f64() == Some(0.0) && field.kind() != Kind::IntOrString,
    }
}

impl Pruner<'_> {
    fn fields(&mut self, fields: &mut Map<String, Value>, ty: TypeRef, path: &Path<'_>) -> Result<(), TypeError> {
        if self.depth > DEPTH_MAX {
            return Err(TypeError("json: exceeded max depth".to_owned()));
        }
        self.depth += 1;
        let mut lost = Vec::new();
        for (name, value) in fields.iter_mut() {
            let Some(field) = ty.field(name) else {
                self.unknown.push(UnknownField(Path::Name(path, name).spell(true)));
                lost.push(name.clone());
                continue;
            };
            self.field(value, field, ty, &Path::Name(path, name))?;
            if left_out(value, field) {
                lost.push(name.clone());
            }
        }
        for name in lost {
            fields.shift_remove(&name);
        }
        for field in ty.fields().filter(|field| always_there(*field)) {
            if let (false, Some(ty)) = (fields.contains_key(field.name()), field.ty()) {
                let mut empty = Map::new();
                self.fields(&mut empty, ty, path)?;
                fields.insert(field.name().to_owned(), Value::Object(empty));
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(&mut self, value: &mut Value, field: Field, owner: TypeRef, path: &Path<'_>) -> Result<(), TypeError> {
        match (field.shape(), &mut *value) {
            (_, Value::Null) => Ok(()),
            (Shape::One, _) => self.one(value, field, owner, path),
            (Shape::List, Value::Array(items)) => self.items(items, field, owner, path),
            (Shape::Map | Shape::MapOfLists, Value::Object(entries)) => self.entries(entries, field, owner, path),
            (_, other) => Err(mismatch(word(other), field, owner, true, path)),
        }
    }

    fn items(&mut self, items: &mut [Value], field: Field, owner: TypeRef, path: &Path<'_>) -> Result<(), TypeError> {
        for (index, item) in items.iter_mut().enumerate() {
            self.element(item, field, owner, &Path::Index(path, index))?;
        }
        Ok(())
    }

    fn entries(
        &mut self,
        entries: &mut Map<String, Value>,
        field: Field,
        owner: TypeRef,
        path: &Path<'_>,
    ) -> Result<(), TypeError> {
        for (name, value) in entries.iter_mut() {
            match (field.shape(), &mut *value) {
                (Shape::MapOfLists, Value::Array(items)) => self.items(items, field, owner, path)?,
                (Shape::MapOfLists, Value::Null) => {}
                (Shape::MapOfLists, other) => return Err(mismatch(word(other), field, owner, false, path)),
                _ => self.element(value, field, owner, &Path::Name(path, name))?,
            }
        }
        Ok(())
    }

    /// A null among the values of a list or map becomes the zero value of its type.
    fn element(&mut self, value: &mut Value, field: Field, owner: TypeRef, path: &Path<'_>) -> Result<(), TypeError> {
        if value.is_null() {
            *value = match field.kind() {
                Kind::Object => Value::Object(Map::new()),
                Kind::String | Kind::Bytes | Kind::Duration => Value::String(String::new()),
                Kind::Quantity => Value::String("0".to_owned()),
                Kind::Int32 | Kind::Int64 | Kind::Double | Kind::IntOrString => Value::Number(Number::from(0)),
                Kind::Bool => Value::Bool(false),
                Kind::Time | Kind::MicroTime | Kind::Any | Kind::Raw => return Ok(()),
            };
        }
        self.one(value, field, owner, path)
    }

    fn one(&mut self, value: &mut Value, field: Field, owner: TypeRef, path: &Path<'_>) -> Result<(), TypeError> {
        match (field.kind(), &mut *value) {
            (Kind::Any | Kind::Raw, _) => Ok(()),
            (Kind::Object, Value::Object(fields)) => match field.ty() {
                Some(ty) => self.fields(fields, ty, path),
                None => Ok(()),
            },
            (Kind::String, Value::String(_)) | (Kind::Bool, Value::Bool(_)) | (Kind::Double, Value::Number(_)) => {
                Ok(())
            }
            (Kind::Int32, Value::Number(number)) => integer(number, i64::from(i32::MAX), field, owner, path),
            (Kind::Int64, Value::Number(number)) => integer(number, i64::MAX, field, owner, path),
            (Kind::Bytes, Value::String(text)) => base64(text),
            (Kind::Quantity, Value::String(text)) => quantity(text),
            (Kind::Quantity, Value::Number(number)) => {
                let text = number.to_string();
                *value = Value::String(text);
                Ok(())
            }
            (Kind::IntOrString, Value::String(_)) => Ok(()),
            (Kind::IntOrString, Value::Number(number)) => integer(number, i64::from(i32::MAX), field, owner, path),
            (Kind::Time | Kind::MicroTime, Value::String(text)) => time(text),
            (Kind::Duration, Value::String(_)) => Ok(()),
            (_, other) => Err(mismatch(word(other), field, owner, false, path)),
        }
    }
}

fn integer(number: &mut Number, max: i64, field: Field, owner: TypeRef, path: &Path<'_>) -> Result<(), TypeError> {
    if number.as_i64().is_some_and(|value| (-max - 1..=max).contains(&value)) {
        return Ok(());
    }
    // Kubernetes' decoder takes 3.0 for an integer, as YAML writers produce it.
    if let Some(float) = number.as_f64()
        && number.is_f64()
        && float.fract() == 0.0
        && float.abs() <= max.min(1 << 53) as f64
    {
        *number = Number::from(float as i64);
        return Ok(());
    }
    Err(mismatch(&format!("number {number}"), field, owner, false, path))
}

/// `whole` names the list or map type, else that of one of its values.
fn mismatch(found: &str, field: Field, owner: TypeRef, whole: bool, path: &Path<'_>) -> TypeError {
    let one = go_type(field);
    let expected = match field.shape() {
        Shape::List if whole => format!("[]{one}"),
        Shape::Map if whole => format!("map[string]{one}"),
        _ => one.to_owned(),
    };
    // Go knows the path of fields only: neither indices nor the keys of maps are in it.
    let mut at = *path;
    if !whole
        && matches!(field.shape(), Shape::Map)
        && let Path::Name(parent, _) = at
    {
        at = *parent;
    }
    let owner = owner.short_name();
    let message =
        format!("json: cannot unmarshal {found} into Go struct field {owner}.{} of type {expected}", at.spell(false));
    TypeError(message)
}

impl Path<'_> {
    /// `spec.containers[0].image`, or without the indices.
    fn spell(&self, indices: bool) -> String {
        match self {
            Path::Root => String::new(),
            Path::Name(Path::Root, name) => (*name).to_owned(),
            Path::Name(parent, name) => format!("{}.{name}", parent.spell(indices)),
            Path::Index(parent, index) if indices => format!("{}[{index}]", parent.spell(indices)),
            Path::Index(parent, _) => parent.spell(indices),
        }
    }
}

fn go_type(field: Field) -> &'static str {
    if let Some(ty) = field.ty() {
        return ty.go_name();
    }
    match (field.go_type(), field.kind()) {
        (Some(name), _) => name,
        (None, Kind::Int32) => "int32",
        (None, Kind::Int64) => "int64",
        (None, Kind::Bool) => "bool",
        (None, Kind::Double) => "float64",
        (None, Kind::Bytes) => "[]uint8",
        (None, Kind::Quantity) => "resource.Quantity",
        (None, Kind::IntOrString) => "intstr.IntOrString",
        (None, Kind::Time) => "v1.Time",
        (None, Kind::MicroTime) => "v1.MicroTime",
        (None, Kind::Duration) => "v1.Duration",
        _ => "string",
    }
}

/// Go's word for a JSON value's type.
fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn base64(text: &str) -> Result<(), TypeError> {
    use base64::Engine;
    let wrong = |at| TypeError(format!("illegal base64 data at input byte {at}"));
    base64::engine::general_purpose::STANDARD.decode(text).map(drop).map_err(|error| match error {
        base64::DecodeError::InvalidByte(at, _) => wrong(at),
        _ => wrong(text.len()),
    })
}

fn quantity(text: &str) -> Result<(), TypeError> {
    let pattern = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$";
    let wrong = |_| TypeError(format!("quantities must match the regular expression '{pattern}'"));
    Quantity::parse(text).map(drop).map_err(wrong)
}

fn time(text: &str) -> Result<(), TypeError> {
    let wrong = |_| {
        let layout = "2006-01-02T15:04:05Z07:00";
        TypeError(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
    };
    text.parse::<jiff::Timestamp>().map(drop).map_err(wrong)
}
