//! What is known about every field of every kind, from Kubernetes' published schemas: names, types, list keys, patch
//! strategies and protobuf numbers. One compact table, decompressed on first use.
//!
//! [`table`] reads it, [`prune`](prune()) checks bodies against it, [`strategic_merge`] patches by it.

mod description;
mod merge;
mod prune;
mod table;

use serde_json::Value;

pub(crate) use description::Descriptions;
pub use merge::strategic_merge;
pub use prune::{TypeError, UnknownField, prune};
pub use table::{Field, Kind, ListType, Shape, TypeRef};
pub(crate) use table::{kinds, packed};

use crate::{Resource, Status};

/// Problems listed in one answer.
const PROBLEMS_MAX: usize = 100;

/// `fieldValidation=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// The type of a served resource's objects.
pub fn for_resource(resource: &Resource) -> Option<TypeRef> {
    find(resource.group, resource.version, resource.kind)
}

/// The type of a body by its `apiVersion` and `kind`; also knows the bodies of subresources (Eviction, Scale, Binding,
/// TokenRequest, DeleteOptions).
pub fn for_kind(api_version: &str, kind: &str) -> Option<TypeRef> {
    // Clients write the group of the object into DeleteOptions; it is one type in all of them.
    if kind == "DeleteOptions" {
        return find("", "v1", kind);
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    find(group, version, kind)
}

fn find(group: &str, version: &str, kind: &str) -> Option<TypeRef> {
    kinds().find(|row| row.2 == kind && row.0 == group && row.1 == version).map(|row| row.3)
}

/// What a body passes right after decoding: [`prune`](prune()), then `mode` decides whether unknown and duplicate
/// fields are an error, or warnings (returned, each ready for a `Warning` header), or ignored.
pub fn check_body(
    value: &mut Value,
    resource: &Resource,
    duplicates: &[String],
    mode: FieldValidation,
) -> Result<Vec<String>, Status> {
    let refuse = |why: String| {
        let kind = resource.kind;
        Status::bad_request(format!("{kind} in version \"{}\" cannot be handled as a {kind}: {why}", resource.version))
    };
    let Some(ty) = for_resource(resource) else { return Ok(Vec::new()) };
    let mut unknown = Vec::new();
    prune(value, ty, &mut unknown).map_err(|error| refuse(error.to_string()))?;
    let problems: Vec<String> = duplicates
        .iter()
        .map(|path| format!("duplicate field \"{path}\""))
        .chain(unknown.iter().map(|field| format!("unknown field \"{}\"", field.0)))
        .take(PROBLEMS_MAX)
        .collect();
    match mode {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Strict if !problems.is_empty() => {
            Err(refuse(format!("strict decoding error: {}", problems.join(", "))))
        }
        FieldValidation::Strict | FieldValidation::Warn => Ok(problems),
    }
}

#[cfg(test)]
mod tests;
