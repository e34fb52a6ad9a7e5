//! What a method and a path ask for.

use control_api::resource::NAMESPACES;
use control_api::{Resource, resource};
use http::Method;
use percent_encoding::percent_decode_str;

use crate::authorize::Attributes;
use crate::query::Query;

/// A path below `/api/v1` or `/apis/G/V`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourcePath {
    pub resource: &'static Resource,
    /// Empty at the cluster scope and for all namespaces.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// Empty for the object itself.
    pub subresource: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Root,
    /// `healthz`, `livez` or `readyz`.
    Health(&'static str),
    Version,
    Metrics,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    Group(String),
    /// `/api/v1` (group empty) or `/apis/G/V`.
    GroupVersion(String, String),
    /// `/.well-known/openid-configuration`.
    OidcDiscovery,
    /// `/openid/v1/jwks`.
    OidcKeys,
    OpenApiV2,
    OpenApiIndex,
    /// `api/v1` or `apis/G/V`.
    OpenApiDocument(String),
    Resource(ResourcePath),
    /// `/bramble/v1/NAME`: what the command line asks beside Kubernetes' objects.
    Bramble(String),
    /// `/bramble/v1/pending/NAME/approve`, POST.
    Approve(String),
    Unknown,
}

/// One request's aim.
#[derive(Debug, Clone)]
pub struct Route {
    pub target: Target,
    /// Kubernetes' verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'static str,
    pub path: String,
}

impl Route {
    pub fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let target = target(&parts);
        let verb = verb(method, &target, query);
        Self { target, verb, path }
    }

    /// What is asked of the authorizer; `named` is the one name that a collection's field selector leaves.
    pub fn attributes<'a>(&'a self, named: &'a str) -> Attributes<'a> {
        match &self.target {
            Target::Resource(at) => Attributes::Resource {
                verb: self.verb,
                group: at.resource.group,
                resource: at.resource.plural,
                subresource: &at.subresource,
                // A namespace lies in itself: whoever may read all in it may read it.
                namespace: if at.resource == &NAMESPACES { &at.name } else { &at.namespace },
                name: if at.name.is_empty() { named } else { &at.name },
            },
            _ => {
                let path = if self.path.len() > 1 { self.path.trim_end_matches('/') } else { &self.path };
                Attributes::Path { verb: self.verb, path }
            }
        }
    }
}

fn verb(method: &Method, target: &Target, query: &Query) -> &'static str {
    let Target::Resource(at) = target else {
        return match *method {
            Method::GET | Method::HEAD => "get",
            Method::POST => "post",
            Method::PUT => "put",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "options",
        };
    };
    match *method {
        Method::GET | Method::HEAD if at.subresource.is_empty() && query.flag("watch") => "watch",
        Method::GET | Method::HEAD if at.name.is_empty() => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if at.name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ => "options",
    }
}

fn target(parts: &[&str]) -> Target {
    match parts {
        [] => Target::Root,
        ["healthz", ..] => Target::Health("healthz"),
        ["livez", ..] => Target::Health("livez"),
        ["readyz", ..] => Target::Health("readyz"),
        ["version"] => Target::Version,
        ["metrics"] => Target::Metrics,
        ["bramble", "v1", "pending", name, "approve"] => Target::Approve((*name).to_owned()),
        ["bramble", "v1", name] => Target::Bramble((*name).to_owned()),
        [".well-known", "openid-configuration"] => Target::OidcDiscovery,
        ["openid", "v1", "jwks"] => Target::OidcKeys,
        ["openapi", "v2"] => Target::OpenApiV2,
        ["openapi", "v3"] => Target::OpenApiIndex,
        ["openapi", "v3", rest @ ..] => Target::OpenApiDocument(rest.join("/")),
        ["api"] => Target::CoreVersions,
        ["api", version] => Target::GroupVersion(String::new(), (*version).to_owned()),
        ["api", version, rest @ ..] => resource_path("", version, rest),
        ["apis"] => Target::Groups,
        ["apis", group] => Target::Group((*group).to_owned()),
        ["apis", group, version] => Target::GroupVersion((*group).to_owned(), (*version).to_owned()),
        ["apis", group, version, rest @ ..] => resource_path(group, version, rest),
        _ => Target::Unknown,
    }
}

fn resource_path(group: &str, version: &str, rest: &[&str]) -> Target {
    let make = |plural: &str, namespace: &str, name: &str, subresource: &[&str]| {
        let Some(resource) = resource::find(group, version, plural) else { return Target::Unknown };
        // What follows is the path to ask the pod for.
        let subresource = if let ["proxy", ..] = subresource { "proxy".to_owned() } else { subresource.join("/") };
        if !subresource.is_empty() && !resource.subresources.contains(&subresource.as_str()) {
            return Target::Unknown;
        }
        let scoped = resource.namespaced() || namespace.is_empty();
        if !scoped || (resource.namespaced() && namespace.is_empty() && !name.is_empty()) {
            return Target::Unknown;
        }
        Target::Resource(ResourcePath { resource, namespace: namespace.to_owned(), name: name.to_owned(), subresource })
    };
    match rest {
        ["namespaces", name] => make("namespaces", "", name, &[]),
        ["namespaces", name, sub @ ("status" | "finalize")] => make("namespaces", "", name, &[sub]),
        ["namespaces", namespace, plural] => make(plural, namespace, "", &[]),
        ["namespaces", namespace, plural, name, sub @ ..] => make(plural, namespace, name, sub),
        [plural] => make(plural, "", "", &[]),
        [plural, name, sub @ ..] => make(plural, "", name, sub),
        [] => Target::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Target {
        Route::parse(&Method::GET, path, &Query::default()).target
    }

    #[test]
    fn namespaced_objects_and_their_subresources_are_found() {
        let Target::Resource(at) = parse("/api/v1/namespaces/default/pods/web/log") else { panic!("no resource") };
        assert_eq!(
            (at.resource.plural, &*at.namespace, &*at.name, &*at.subresource),
            ("pods", "default", "web", "log")
        );
    }

    #[test]
    fn a_namespace_is_an_object_of_its_own() {
        let Target::Resource(at) = parse("/api/v1/namespaces/web/") else { panic!("no resource") };
        assert_eq!((at.resource.plural, &*at.namespace, &*at.name), ("namespaces", "", "web"));
    }

    #[test]
    fn nothing_is_found_where_nothing_is_served() {
        let Target::Resource(at) = parse("/api/v1/namespaces/a/services/http:web:80/proxy/x/y") else {
            panic!("no resource")
        };
        assert_eq!((at.name.as_str(), at.subresource.as_str()), ("http:web:80", "proxy"));
        for path in ["/api/v1/namespaces/a/widgets", "/api/v1/pods/web", "/apis/apps/v1/namespaces/a/deployments/b/log"]
        {
            assert_eq!(parse(path), Target::Unknown, "{path}");
        }
    }

    #[test]
    fn trailing_slashes_are_tolerated() {
        assert_eq!(parse("/api/"), Target::CoreVersions);
        assert_eq!(parse("/version/"), Target::Version);
    }
}
