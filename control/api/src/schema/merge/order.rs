//! The order of a merged list: what the patch names comes in the patch's order, everything else stays before the
//! items that it was before in the live list, as far as both can be had.

use serde_json::{Map, Value};

use super::{ELEMENT_ORDER, PATCH};
use crate::Status;
use crate::schema::table::{Field, TypeRef};

/// What tells items of a list apart: their merge key, or a scalar itself.
pub type Identity = Option<Value>;

pub fn identity(item: &Value, key: Option<&str>) -> Identity {
    key.map_or_else(|| Some(item.clone()), |key| item.get(key).cloned())
}

pub fn identities(items: &[Value], key: Option<&str>) -> Vec<Identity> {
    items.iter().map(|item| identity(item, key)).collect()
}

/// One `$setElementOrder/LIST`.
pub struct Order {
    pub list: String,
    pub key: Option<&'static str>,
    pub wanted: Vec<Identity>,
    /// The order before the patch.
    pub live: Vec<Identity>,
}

impl Order {
    /// Takes the directives out of a patch.
    pub fn take_all(
        patch: &mut Map<String, Value>,
        original: &Map<String, Value>,
        ty: Option<TypeRef>,
    ) -> Result<Vec<Self>, Status> {
        let names: Vec<String> = patch.keys().filter(|name| name.starts_with(ELEMENT_ORDER)).cloned().collect();
        let take = |name: String| {
            let list = name[ELEMENT_ORDER.len()..].to_owned();
            let Some(Value::Array(items)) = patch.shift_remove(&name) else {
                return Err(Status::bad_request("$setElementOrder must be a list"));
            };
            let key = ty.and_then(|ty| ty.field(&list)).and_then(Field::merge_key);
            let wanted = identities(&items, key);
            if let Some(Value::Array(changes)) = patch.get(&list) {
                check(changes, &items, &wanted, key)?;
            }
            let live = original.get(&list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            Ok(Self { key, wanted, live: identities(live, key), list })
        };
        names.into_iter().map(take).collect()
    }
}

/// Items of the patch must stand in the order that the directive names.
fn check(changes: &[Value], order: &[Value], wanted: &[Identity], key: Option<&str>) -> Result<(), Status> {
    let mut rest = wanted.iter();
    let stays = |item: &&Value| item.get(PATCH).is_none();
    if changes.iter().filter(stays).all(|item| rest.any(|name| *name == identity(item, key))) {
        return Ok(());
    }
    let list = |items: &[Value]| Value::from(items.to_vec());
    let message = format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        list(changes),
        list(order)
    );
    Err(Status::bad_request(message))
}

fn place(order: &[Identity], name: &Identity) -> Option<usize> {
    order.iter().position(|other| other == name)
}

/// `merged` with the items of `wanted` in that order. Each other item comes before the first wanted one, from where
/// the last such item went, that it stood before in `live`; without one it goes to the end.
pub fn arrange(merged: Vec<Value>, wanted: &[Identity], live: &[Identity], key: Option<&str>) -> Vec<Value> {
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let name = identity(&item, key);
        match place(wanted, &name) {
            Some(at) => named.push((at, place(live, &name), item)),
            None => others.push((place(live, &name), item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    others.sort_by_key(|(at, _)| at.unwrap_or(usize::MAX));
    let mut others = others.into_iter().peekable();
    let mut all = Vec::with_capacity(named.len() + others.len());
    for (_, at, item) in named {
        let before =
            |(other, _): &(Option<usize>, Value)| matches!((other, at), (Some(other), Some(at)) if *other < at);
        while let Some((_, other)) = others.next_if(before) {
            all.push(other);
        }
        all.push(item);
    }
    all.extend(others.map(|(_, item)| item));
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arranged(merged: &[&str], wanted: &[&str], live: &[&str]) -> String {
        let values = |names: &[&str]| names.iter().map(|name| json!(name)).collect::<Vec<_>>();
        let names = |list: &[&str]| identities(&values(list), None);
        let all = arrange(values(merged), &names(wanted), &names(live), None);
        all.iter().filter_map(Value::as_str).collect()
    }

    #[test]
    fn what_the_patch_names_keeps_its_order_and_the_rest_its_neighbours() {
        assert_eq!(arranged(&["a", "b", "c"], &["c", "b"], &["a", "b", "c"]), "acb");
        assert_eq!(arranged(&["a", "new"], &["new"], &["a"]), "newa");
        assert_eq!(arranged(&["a", "b", "side"], &["b", "a"], &["a", "b", "side"]), "baside");
        assert_eq!(arranged(&["a", "b", "c", "d"], &["d", "b"], &["a", "b", "c", "d"]), "acdb");
        assert_eq!(arranged(&["a", "b"], &[], &["b", "a"]), "ba");
    }
}
