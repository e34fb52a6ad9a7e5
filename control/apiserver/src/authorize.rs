//! Who may do what. Until RBAC is served: `system:masters` everything, everyone else only what is public.

use control_api::{Reason, Resource, Status};

use crate::call::User;

/// What is asked, in the words of an access review.
#[derive(Debug, Clone, Copy)]
pub enum Attributes<'a> {
    Resource { verb: &'a str, resource: &'static Resource, subresource: &'a str, namespace: &'a str, name: &'a str },
    Path { verb: &'a str, path: &'a str },
}

/// Paths that Kubernetes opens to everyone.
const PUBLIC: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];
/// Paths that Kubernetes opens to every authenticated user.
const DISCOVERY: [&str; 3] = ["/api", "/apis", "/openapi"];

/// Whether `path` is one of `roots` or below it.
fn under(path: &str, roots: &[&str]) -> bool {
    roots.iter().any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn in_group(user: &User, group: &str) -> bool {
    user.groups.iter().any(|own| own == group)
}

/// Lets the request pass or refuses it in Kubernetes' words.
pub fn authorize(user: &User, attributes: &Attributes<'_>) -> Result<(), Status> {
    if in_group(user, "system:masters") {
        return Ok(());
    }
    match *attributes {
        Attributes::Path { verb, path } => {
            let person = in_group(user, "system:authenticated") && !in_group(user, "system:serviceaccounts");
            if verb == "get" && (under(path, &PUBLIC) || (person && under(path, &DISCOVERY))) {
                return Ok(());
            }
            let message = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"", user.name);
            Err(Status::new(Reason::Forbidden, message))
        }
        Attributes::Resource { verb, resource, subresource, namespace, name } => {
            let slash = if subresource.is_empty() { "" } else { "/" };
            let place = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace \"{namespace}\"")
            };
            let why = format!(
                "User \"{}\" cannot {verb} resource \"{}{slash}{subresource}\" in API group \"{}\" {place}",
                user.name, resource.plural, resource.group
            );
            Err(Status::forbidden(resource, name, &why))
        }
    }
}

#[cfg(test)]
mod tests {
    use control_api::resource::PODS;

    use super::*;
    use crate::authenticate::anonymous;

    const LIST: Attributes<'_> =
        Attributes::Resource { verb: "list", resource: &PODS, subresource: "", namespace: "default", name: "" };

    #[test]
    fn masters_may_do_everything() {
        assert_eq!(authorize(&User::system("admin"), &LIST), Ok(()));
    }

    #[test]
    fn the_anonymous_user_is_refused_in_kubernetes_words() {
        let status = authorize(&anonymous(), &LIST).expect_err("refused");
        let words = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in \
                     the namespace \"default\"";
        assert_eq!(status.message, words);
        assert_eq!(status.code(), 403);
    }

    #[test]
    fn health_is_public_and_metrics_are_not() {
        assert_eq!(authorize(&anonymous(), &Attributes::Path { verb: "get", path: "/readyz" }), Ok(()));
        let status = authorize(&anonymous(), &Attributes::Path { verb: "get", path: "/metrics" }).expect_err("refused");
        assert_eq!(status.message, "forbidden: User \"system:anonymous\" cannot get path \"/metrics\"");
    }
}
