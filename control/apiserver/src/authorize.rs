//! Who may do what: `system:masters` everything, nodes what is theirs, everyone what roles grant them.

use control_api::status::Details;
use control_api::{Reason, Status};

use crate::api::Api;
use crate::call::User;
use crate::node_rule;

/// The group that no role needs to name.
pub const MASTERS: &str = "system:masters";

/// What is asked, in the words of an access review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes<'a> {
    Resource {
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        namespace: &'a str,
        name: &'a str,
    },
    Path {
        verb: &'a str,
        path: &'a str,
    },
}

/// What was decided, and why as far as anyone has something to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
}

impl Decision {
    fn allow(reason: String) -> Self {
        Self { allowed: true, reason }
    }
}

/// Asks each authority in turn; the first that allows wins.
pub fn decide(api: &Api, user: &User, wanted: &Attributes<'_>) -> Decision {
    decide_on(api, user, wanted, "")
}

/// [`decide`] about a list or watch of pods that are bound to one node, where its field selector says so.
fn decide_on(api: &Api, user: &User, wanted: &Attributes<'_>, bound_to: &str) -> Decision {
    if user.in_group(MASTERS) {
        return Decision::allow(String::new());
    }
    let mut reasons = Vec::new();
    if let Some(node) = node_rule::node_of(user) {
        match node_rule::decide(api, node, wanted, bound_to) {
            Ok(()) => return Decision::allow(String::new()),
            Err(why) if why.is_empty() => {}
            Err(why) => reasons.push(why),
        }
    }
    match api.rbac.read(&**api.store()).allows(user, wanted) {
        Ok(source) => return Decision::allow(format!("RBAC: allowed by {source}")),
        Err(missing) if missing.is_empty() => {}
        Err(missing) => {
            let list = missing.join(", ");
            reasons.push(if missing.len() == 1 { format!("RBAC: {list}") } else { format!("RBAC: [{list}]") });
        }
    }
    Decision { allowed: false, reason: reasons.join("\n") }
}

/// Lets the request pass or refuses it in Kubernetes' words.
pub fn authorize(api: &Api, user: &User, wanted: &Attributes<'_>) -> Result<(), Status> {
    authorize_on(api, user, wanted, "")
}

/// [`authorize`] for a list or watch of what is bound to one node.
pub fn authorize_on(api: &Api, user: &User, wanted: &Attributes<'_>, bound_to: &str) -> Result<(), Status> {
    let decision = decide_on(api, user, wanted, bound_to);
    if decision.allowed { Ok(()) } else { Err(refusal(user, wanted, &decision.reason)) }
}

/// The answer to who may not.
pub fn refusal(user: &User, wanted: &Attributes<'_>, reason: &str) -> Status {
    let colon = if reason.is_empty() { "" } else { ": " };
    match *wanted {
        Attributes::Path { verb, path } => {
            let message = format!("forbidden: User {:?} cannot {verb} path {path:?}{colon}{reason}", user.name);
            let details = Details::default();
            Status { reason: Reason::Forbidden, message, details: Some(Box::new(details)) }
        }
        Attributes::Resource { verb, group, resource, subresource, namespace, name } => {
            let slash = if subresource.is_empty() { "" } else { "/" };
            let place = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {namespace:?}")
            };
            let dot = if group.is_empty() { "" } else { "." };
            let about = if name.is_empty() {
                format!("{resource}{dot}{group}")
            } else {
                format!("{resource}{dot}{group} {name:?}")
            };
            let message = format!(
                "{about} is forbidden: User {:?} cannot {verb} resource \"{resource}{slash}{subresource}\" in API group \
                 {group:?} {place}{colon}{reason}",
                user.name
            );
            let (name, group, kind) = (name.to_owned(), group.to_owned(), resource.to_owned());
            let details = Details { name, group, kind, ..Details::default() };
            Status { reason: Reason::Forbidden, message, details: Some(Box::new(details)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use control_store::MemoryStore;

    use super::*;
    use crate::authenticate::anonymous;

    const LIST: Attributes<'_> = Attributes::Resource {
        verb: "list",
        group: "",
        resource: "pods",
        subresource: "",
        namespace: "default",
        name: "",
    };

    fn api() -> Arc<Api> {
        Api::new(Arc::new(MemoryStore::default()))
    }

    #[test]
    fn masters_may_do_everything() {
        assert_eq!(authorize(&api(), &User::system("admin"), &LIST), Ok(()));
    }

    #[test]
    fn the_anonymous_user_is_refused_in_kubernetes_words() {
        let status = authorize(&api(), &anonymous(), &LIST).expect_err("refused");
        let words = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in \
                     the namespace \"default\"";
        assert_eq!(status.message, words);
        assert_eq!(status.code(), 403);
    }

    #[test]
    fn a_path_is_refused_by_its_name() {
        let wanted = Attributes::Path { verb: "get", path: "/metrics" };
        let status = authorize(&api(), &anonymous(), &wanted).expect_err("refused");
        assert_eq!(status.message, "forbidden: User \"system:anonymous\" cannot get path \"/metrics\"");
    }
}
