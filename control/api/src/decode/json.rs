//! JSON to a value, with the paths of keys that were there twice.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Decoded;
use crate::Status;

/// Nesting beyond which a body is refused; serde_json has a limit of its own behind this one.
const DEPTH_MAX: usize = 100;

/// Duplicates remembered from one body.
const DUPLICATES_MAX: usize = 100;

/// Decodes a JSON body. The caller limits its size.
pub fn decode_json(body: &[u8]) -> Result<Decoded, Status> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let refuse = |error: serde_json::Error| Status::bad_request(format!("couldn't parse the body as JSON: {error}"));
    let decoded = decode(&mut deserializer).map_err(refuse)?;
    deserializer.end().map_err(refuse)?;
    Ok(decoded)
}

/// Drives any format's deserializer.
pub(super) fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decoded, D::Error> {
    let duplicates = RefCell::new(Vec::new());
    let value = Seed { duplicates: &duplicates, path: &Path::Root, depth: 0 }.deserialize(deserializer)?;
    Ok(Decoded { value, duplicates: duplicates.into_inner() })
}

enum Path<'a> {
    Root,
    Name(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn spell(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Name(Self::Root, name) => (*name).to_owned(),
            Self::Name(parent, name) => format!("{}.{name}", parent.spell()),
            Self::Index(parent, index) => format!("{}[{index}]", parent.spell()),
        }
    }
}

struct Seed<'a> {
    duplicates: &'a RefCell<Vec<String>>,
    path: &'a Path<'a>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seed<'_> {
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        if self.depth < DEPTH_MAX { Ok(self.depth + 1) } else { Err(E::custom("exceeded max depth")) }
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut list = Vec::new();
        loop {
            let path = Path::Index(self.path, list.len());
            match items.next_element_seed(Seed { duplicates: self.duplicates, path: &path, depth })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let path = Path::Name(self.path, &name);
            let value = entries.next_value_seed(Seed { duplicates: self.duplicates, path: &path, depth })?;
            let mut duplicates = self.duplicates.borrow_mut();
            if map.contains_key(&name) && duplicates.len() < DUPLICATES_MAX {
                duplicates.push(path.spell());
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
