//! The operations of a resource. kubectl finds one by its kind's extension and looks at the parameters and media types
//! of its patch to learn whether the server validates fields, runs dry and takes strategic patches.

use serde_json::{Map, Value, json};

use super::reference;
use crate::resource::Resource;
use crate::schema::for_resource;

const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// Adds the paths of `resource`: its collection, one object, and its status and scale.
pub(super) fn add(paths: &mut Map<String, Value>, resource: &Resource) {
    let root = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let plural = resource.plural;
    let collection = if resource.namespaced() {
        format!("{root}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("{root}/{plural}")
    };
    let object = format!("{collection}/{{name}}");
    if resource.namespaced() {
        let list = json!({"get": operation(resource, "get", "list", "ForAllNamespaces")});
        paths.insert(format!("{root}/{plural}"), list);
    }
    paths.insert(
        collection,
        json!({
            "get": operation(resource, "get", "list", ""),
            "post": operation(resource, "post", "post", ""),
            "delete": operation(resource, "delete", "deletecollection", "Collection"),
            "parameters": place(resource, false),
        }),
    );
    paths.insert(object.clone(), one(resource, ""));
    for subresource in resource.subresources.iter().filter(|name| matches!(**name, "status" | "scale")) {
        let suffix = if *subresource == "status" { "Status" } else { "Scale" };
        paths.insert(format!("{object}/{subresource}"), one(resource, suffix));
    }
}

/// The path of one object, or of a subresource of it.
fn one(resource: &Resource, suffix: &str) -> Value {
    let mut item = json!({
        "get": operation(resource, "get", "get", suffix),
        "put": operation(resource, "put", "put", suffix),
        "patch": operation(resource, "patch", "patch", suffix),
        "parameters": place(resource, true),
    });
    if suffix.is_empty() {
        item["delete"] = operation(resource, "delete", "delete", suffix);
    }
    item
}

fn operation(resource: &Resource, method: &str, action: &str, suffix: &str) -> Value {
    let kind = match suffix {
        "Scale" => json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}),
        _ => json!({"group": resource.group, "version": resource.version, "kind": resource.kind}),
    };
    let scope = if resource.namespaced() { "Namespaced" } else { "" };
    let mut operation = json!({
        "operationId": format!("{action}{}{scope}{}{suffix}", title(resource), resource.kind),
        "parameters": parameters(method),
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
    });
    if let Some(content) = request(resource, method, suffix) {
        operation["requestBody"] = json!({"content": content, "required": true});
    }
    operation
}

/// `AppsV1`, `CoreV1`.
fn title(resource: &Resource) -> String {
    let group = resource.group.split('.').next().filter(|word| !word.is_empty()).unwrap_or("core");
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    capital(group) + &capital(resource.version)
}

fn request(resource: &Resource, method: &str, suffix: &str) -> Option<Value> {
    let body = match suffix {
        "Scale" => reference("io.k8s.api.autoscaling.v1.Scale"),
        _ => reference(for_resource(resource)?.name()),
    };
    match method {
        "patch" => {
            let patch = json!({"schema": reference("io.k8s.apimachinery.pkg.apis.meta.v1.Patch")});
            Some(PATCH_TYPES.iter().map(|media| ((*media).to_owned(), patch.clone())).collect())
        }
        "post" | "put" => Some(json!({"*/*": {"schema": body}})),
        _ => None,
    }
}

fn parameters(method: &str) -> Value {
    let query =
        |name: &str, ty: &str| json!({"name": name, "in": "query", "schema": {"type": ty, "uniqueItems": true}});
    match method {
        "get" => Value::Array(vec![]),
        "delete" => json!([query("dryRun", "string")]),
        "patch" => json!([
            query("dryRun", "string"),
            query("fieldManager", "string"),
            query("fieldValidation", "string"),
            query("force", "boolean"),
        ]),
        _ => json!([query("dryRun", "string"), query("fieldManager", "string"), query("fieldValidation", "string")]),
    }
}

/// The parameters in the path itself.
fn place(resource: &Resource, named: bool) -> Value {
    let path = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}});
    let names = [("name", named), ("namespace", resource.namespaced())];
    names.iter().filter(|(_, there)| *there).map(|(name, _)| path(name)).collect()
}
