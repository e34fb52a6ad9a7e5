//! Requests and limits of a container.

use serde_json::{Map, Value, json};

use crate::field::FieldError;
use crate::name;
use crate::object::map;
use crate::quantity::Quantity;

use super::check::{Errors, rule};

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const HUGE_PAGES: &str = "hugepages-";

pub(super) fn resources(container: &Value, path: &str, wrong: &mut Errors) {
    let empty = Map::new();
    let limits = map(container, "/resources/limits").unwrap_or(&empty);
    let requests = map(container, "/resources/requests").unwrap_or(&empty);
    amounts(limits, &format!("{path}.resources.limits"), wrong);
    let path = format!("{path}.resources.requests");
    amounts(requests, &path, wrong);
    for (name, request) in requests {
        let overcommits = STANDARD.contains(&name.as_str());
        let why = match (quantity(request), limits.get(name).and_then(quantity)) {
            (Some(request), Some(limit)) if overcommits && request > limit => {
                format!("must be less than or equal to {name} limit of {limit}")
            }
            (Some(request), Some(limit)) if !overcommits && request != limit => {
                format!("must be equal to {name} limit of {limit}")
            }
            (Some(_), None) if !overcommits && limits.get(name).is_none() => {
                wrong.push(FieldError::required(
                    path.replace(".requests", ".limits"),
                    "Limit must be set for non overcommitable resources",
                ));
                continue;
            }
            _ => continue,
        };
        wrong.push(FieldError::invalid(&path, request, why));
    }
}

fn quantity(amount: &Value) -> Option<Quantity> {
    Quantity::parse(amount.as_str()?).ok()
}

fn amounts(amounts: &Map<String, Value>, path: &str, wrong: &mut Errors) {
    for (name, amount) in amounts {
        let field = format!("{path}[{name}]");
        rule(path, name, name::qualified, wrong);
        let standard = STANDARD.contains(&name.as_str()) || name.starts_with(HUGE_PAGES);
        if !name.contains('/') && !standard {
            wrong.push(FieldError::invalid(
                &field,
                &json!(name),
                "must be a standard resource type or fully qualified",
            ));
            wrong.push(FieldError::invalid(&field, &json!(name), "must be a standard resource for containers"));
        }
        match Quantity::parse(amount.as_str().unwrap_or("")) {
            Err(error) => wrong.push(FieldError::invalid(&field, amount, error.to_string())),
            Ok(quantity) if quantity.is_negative() => {
                wrong.push(FieldError::invalid(&field, amount, "must be greater than or equal to 0"));
            }
            Ok(quantity) if name.contains('/') && !quantity.is_integer() => {
                wrong.push(FieldError::invalid(&field, amount, "must be an integer"));
            }
            Ok(_) => {}
        }
    }
}
