//! What is served: `/version`, and the lists of groups and resources, plain and aggregated.

mod aggregated;

use std::collections::BTreeMap;

use control_api::{Reason, Resource, Status, resource};
use http::{HeaderMap, Response};
use serde_json::{Value, json};

use crate::respond::{self, Body};

/// The Kubernetes version whose API this is.
pub const MINOR: &str = "35";
pub const GIT_VERSION: &str = "v1.35.0+bramble";

const OBJECT_VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// What can be done with objects of the resource.
fn verbs(row: &Resource) -> &'static [&'static str] {
    match row {
        row if resource::is_review(row) => &["create"],
        row if resource::is_measured(row) => &["get", "list"],
        _ => &OBJECT_VERBS,
    }
}

pub fn version() -> Response<Body> {
    respond::value(&json!({
        "major": "1", "minor": MINOR, "emulationMajor": "1", "emulationMinor": MINOR,
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "34",
        "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": format!("linux/{}", architecture()),
    }))
}

/// Go's name of the machine.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn root() -> Response<Body> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in served_groups() {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    for path in [
        "/.well-known/openid-configuration",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ] {
        paths.push(path.to_owned());
    }
    respond::value(&json!({"paths": paths}))
}

/// Named groups with their versions; the core group is not among them.
fn served_groups() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in resource::served().filter(|row| !row.group.is_empty()) {
        let versions = groups.entry(row.group).or_default();
        if !versions.contains(&row.version) {
            versions.push(row.version);
        }
    }
    groups
}

/// `/api`.
pub fn core_versions(headers: &HeaderMap) -> Response<Body> {
    aggregated::answer(headers, true).unwrap_or_else(|| {
        let addresses = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]);
        respond::value(&json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}))
    })
}

/// `/apis`.
pub fn groups(headers: &HeaderMap) -> Response<Body> {
    aggregated::answer(headers, false).unwrap_or_else(|| {
        let groups: Vec<Value> = served_groups().iter().map(|(group, versions)| group_value(group, versions)).collect();
        respond::value(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
    })
}

fn group_value(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> =
        versions.iter().map(|v| json!({"groupVersion": format!("{group}/{v}"), "version": v})).collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

fn not_served() -> Status {
    Status::new(Reason::NotFound, "the server could not find the requested resource")
}

/// `/apis/GROUP`.
pub fn group(name: &str) -> Result<Response<Body>, Status> {
    let groups = served_groups();
    let versions = groups.get(name).ok_or_else(not_served)?;
    let mut value = group_value(name, versions);
    value["kind"] = json!("APIGroup");
    value["apiVersion"] = json!("v1");
    Ok(respond::value(&value))
}

/// `/api/v1` or `/apis/GROUP/VERSION`.
pub fn group_version(group: &str, version: &str) -> Result<Response<Body>, Status> {
    let known = if group.is_empty() {
        version == "v1"
    } else {
        served_groups().get(group).is_some_and(|versions| versions.contains(&version))
    };
    if !known {
        return Err(not_served());
    }
    let mut resources = Vec::new();
    for row in resource::served().filter(|row| row.group == group && row.version == version) {
        resources.push(plain(row));
        resources.extend(row.subresources.iter().map(|name| plain_subresource(row, name)));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(respond::value(
        &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}),
    ))
}

fn plain(row: &Resource) -> Value {
    let mut value = json!({
        "name": row.plural, "singularName": row.singular, "namespaced": row.namespaced(), "kind": row.kind,
        "verbs": verbs(row),
    });
    if !row.short_names.is_empty() {
        value["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        value["categories"] = json!(row.categories);
    }
    value
}

fn plain_subresource(row: &Resource, name: &str) -> Value {
    let about = Subresource::of(row, name);
    let mut value = json!({
        "name": format!("{}/{name}", row.plural), "singularName": "", "namespaced": row.namespaced(),
        "kind": about.kind, "verbs": about.verbs,
    });
    if (about.group, about.version) != (row.group, row.version) {
        value["group"] = json!(about.group);
        value["version"] = json!(about.version);
    }
    value
}

/// Every method is passed on.
const PROXIED: &[&str] = &["create", "delete", "get", "patch", "update"];

/// The body and the verbs of one subresource.
struct Subresource {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
}

impl Subresource {
    fn of(row: &Resource, name: &str) -> Self {
        let (group, version, kind, verbs): (_, _, _, &[&str]) = match name {
            "scale" => ("autoscaling", "v1", "Scale", &["get", "patch", "update"]),
            "eviction" => ("policy", "v1", "Eviction", &["create"]),
            "binding" => ("", "v1", "Binding", &["create"]),
            "token" => ("authentication.k8s.io", "v1", "TokenRequest", &["create"]),
            "exec" => ("", "v1", "PodExecOptions", &["create", "get"]),
            "attach" => ("", "v1", "PodAttachOptions", &["create", "get"]),
            "portforward" => ("", "v1", "PodPortForwardOptions", &["create", "get"]),
            "proxy" if row.kind == "Service" => ("", "v1", "ServiceProxyOptions", PROXIED),
            "proxy" if row.kind == "Node" => ("", "v1", "NodeProxyOptions", PROXIED),
            "proxy" => ("", "v1", "PodProxyOptions", PROXIED),
            "log" => ("", "v1", "Pod", &["get"]),
            "finalize" => (row.group, row.version, row.kind, &["update"]),
            _ => (row.group, row.version, row.kind, &["get", "patch", "update"]),
        };
        Self { group, version, kind, verbs }
    }
}
