//! Nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::FieldError;
use crate::name;
use crate::object::{list, text};

use super::check::{Errors, one_of, optional, required};
use super::scheduling::EFFECTS;

pub(super) fn create(object: &Value, wrong: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (at, taint) in list(object, "/spec/taints").iter().enumerate() {
        let path = format!("spec.taints[{at}]");
        required(taint, &path, "key", name::qualified, wrong);
        optional(taint, &path, "value", name::label_value, wrong);
        match text(taint, "/effect") {
            "" => wrong.push(FieldError::required(format!("{path}.effect"), "")),
            _ => one_of(taint, &path, "effect", &EFFECTS, wrong),
        }
        if !seen.insert((text(taint, "/key"), text(taint, "/effect"))) {
            let mut error = FieldError::duplicate(path, taint);
            error.detail = "taints must be unique by key and effect pair".to_owned();
            wrong.push(error);
        }
    }
}

pub(super) fn update(new: &Value, old: &Value, wrong: &mut Errors) {
    for (key, name) in [("podCIDR", "podCIDR"), ("providerID", "providerID")] {
        let pointer = format!("/spec/{key}");
        let (after, before) = (text(new, &pointer), text(old, &pointer));
        if !before.is_empty() && after != before {
            let why = format!("node updates may not change {name} except from \"\" to valid");
            wrong.push(FieldError::forbidden(format!("spec.{key}"), why));
        }
    }
}
