//! Strategic merge patches: JSON merge patches that know which lists are merged by a key.

mod order;

use serde_json::{Map, Value};

use order::{Order, arrange, identities};

use super::table::{Field, Kind, Shape, TypeRef};
use crate::Status;

/// Nesting beyond which a patch is refused.
const DEPTH_MAX: usize = 100;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// Applies a strategic merge patch to an object of type `ty`. Parts that `ty` does not know are merged as JSON.
pub fn strategic_merge(original: Value, patch: Value, ty: TypeRef) -> Result<Value, Status> {
    let Value::Object(patch) = patch else {
        return Err(Status::bad_request("a strategic merge patch is a JSON object"));
    };
    let original = match original {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    merge_maps(original, patch, Some(ty), 0).map(Value::Object)
}

/// What `$patch` in a map or list item says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(patch: &mut Map<String, Value>) -> Result<Directive, Status> {
    match patch.shift_remove(PATCH) {
        None => Ok(Directive::Merge),
        Some(Value::String(word)) if word == "merge" => Ok(Directive::Merge),
        Some(Value::String(word)) if word == "replace" => Ok(Directive::Replace),
        Some(Value::String(word)) if word == "delete" => Ok(Directive::Delete),
        Some(other) => Err(Status::bad_request(format!("unknown patch type found: {}", plain(&other)))),
    }
}

fn merge_maps(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    ty: Option<TypeRef>,
    depth: usize,
) -> Result<Map<String, Value>, Status> {
    if depth > DEPTH_MAX {
        return Err(Status::bad_request("the patch is nested too deep"));
    }
    match directive(&mut patch)? {
        Directive::Replace => return Ok(without_directives(patch)),
        Directive::Delete => return Ok(Map::new()),
        Directive::Merge => {}
    }
    retain_keys(&mut original, &mut patch)?;
    let orders = Order::take_all(&mut patch, &original, ty)?;
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_FROM_LIST) {
            delete_from_list(&mut original, list, &value)?;
        } else if value.is_null() {
            original.shift_remove(&name);
        } else {
            let field = ty.and_then(|ty| ty.field(&name));
            let before = original.get_mut(&name).map(Value::take);
            let merged = merge_value(before, value, field, depth)?;
            original.insert(name, merged);
        }
    }
    for order in orders {
        if let Some(Value::Array(items)) = original.get_mut(&order.list) {
            *items = arrange(std::mem::take(items), &order.wanted, &order.live, order.key);
        }
    }
    Ok(original)
}

fn merge_value(before: Option<Value>, patch: Value, field: Option<Field>, depth: usize) -> Result<Value, Status> {
    match (before, patch) {
        (before, Value::Object(patch)) => {
            let before = match before {
                Some(Value::Object(fields)) => fields,
                _ => Map::new(),
            };
            let ty = field.filter(|field| field.shape() == Shape::One).and_then(Field::ty);
            merge_maps(before, patch, ty, depth + 1).map(Value::Object)
        }
        (before, Value::Array(patch)) => match field.filter(|field| field.patch_merge()) {
            Some(field) => {
                let before = match before {
                    Some(Value::Array(items)) => items,
                    _ => Vec::new(),
                };
                merge_lists(before, patch, field, depth + 1).map(Value::Array)
            }
            None => replaced_list(patch),
        },
        (_, patch) => Ok(patch),
    }
}

fn merge_lists(before: Vec<Value>, patch: Vec<Value>, field: Field, depth: usize) -> Result<Vec<Value>, Status> {
    match field.merge_key() {
        Some(key) if field.kind() == Kind::Object => merge_by_key(before, patch, key, field.ty(), depth),
        _ => Ok(merge_scalars(before, patch)),
    }
}

/// Scalars are a set.
fn merge_scalars(before: Vec<Value>, patch: Vec<Value>) -> Vec<Value> {
    let mut merged = Vec::with_capacity(before.len() + patch.len());
    for item in before.iter().chain(&patch) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    arrange(merged, &identities(&patch, None), &identities(&before, None), None)
}

fn merge_by_key(
    mut items: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
    ty: Option<TypeRef>,
    depth: usize,
) -> Result<Vec<Value>, Status> {
    let mut replace = false;
    let mut changes = Vec::with_capacity(patch.len());
    for item in patch {
        let Value::Object(mut item) = item else {
            return Err(Status::bad_request(format!("an item of a list merged by {key} must be an object")));
        };
        match (directive(&mut item)?, item.get(key)) {
            // The item is the directive, and nothing else.
            (Directive::Replace, _) => replace = true,
            (_, None | Some(Value::Null)) => {
                let item = Value::Object(item);
                return Err(Status::bad_request(format!("map: {item} does not contain declared merge key: {key}")));
            }
            (word, Some(_)) => changes.push((word, item)),
        }
    }
    if replace {
        return Ok(changes.into_iter().map(|(_, item)| Value::Object(without_directives(item))).collect());
    }
    let is = |word| move |change: &&(Directive, Map<String, Value>)| (change.0 == Directive::Delete) == word;
    let name = |item: &Map<String, Value>| item.get(key).cloned();
    for (_, gone) in changes.iter().filter(is(true)) {
        items.retain(|other| other.get(key).cloned() != name(gone));
    }
    let live = identities(&items, Some(key));
    let wanted: Vec<_> = changes.iter().filter(is(false)).map(|(_, item)| name(item)).collect();
    for (_, item) in changes.into_iter().filter(|change| is(false)(&change)) {
        match items.iter_mut().find(|other| other.get(key) == item.get(key)) {
            Some(Value::Object(before)) => *before = merge_maps(std::mem::take(before), item, ty, depth)?,
            _ => items.push(Value::Object(merge_maps(Map::new(), item, ty, depth)?)),
        }
    }
    Ok(arrange(items, &wanted, &live, Some(key)))
}

/// `$retainKeys` lists what may stay; it must name every key that the patch sets.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), Status> {
    let Some(keys) = patch.shift_remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else {
        return Err(Status::bad_request("$retainKeys must be a list"));
    };
    let listed = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    let set = |(name, value): (&String, &Value)| !value.is_null() && !name.starts_with('$') && !listed(name);
    if patch.iter().any(set) {
        return Err(Status::bad_request("$retainKeys must contain every key that the patch sets"));
    }
    original.retain(|name, _| listed(name));
    Ok(())
}

fn delete_from_list(original: &mut Map<String, Value>, list: &str, gone: &Value) -> Result<(), Status> {
    let Value::Array(gone) = gone else {
        return Err(Status::bad_request(format!("$deleteFromPrimitiveList/{list} must be a list")));
    };
    if let Some(Value::Array(items)) = original.get_mut(list) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// A list that replaces another keeps no directives in its items.
fn replaced_list(patch: Vec<Value>) -> Result<Value, Status> {
    let clean = |item| match item {
        Value::Object(fields) if fields.contains_key(PATCH) && fields.len() == 1 => None,
        Value::Object(fields) => Some(Value::Object(without_directives(fields))),
        other => Some(other),
    };
    Ok(Value::Array(patch.into_iter().filter_map(clean).collect()))
}

/// What is left of a patch that becomes the value itself: no directives, no nulls.
fn without_directives(patch: Map<String, Value>) -> Map<String, Value> {
    let directive = |name: &str| {
        name == PATCH || name == RETAIN_KEYS || name.starts_with(DELETE_FROM_LIST) || name.starts_with(ELEMENT_ORDER)
    };
    let clean = |(name, value): (String, Value)| {
        let value = match value {
            Value::Null => return None,
            Value::Object(fields) => Value::Object(without_directives(fields)),
            other => other,
        };
        (!directive(&name)).then_some((name, value))
    };
    patch.into_iter().filter_map(clean).collect()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
