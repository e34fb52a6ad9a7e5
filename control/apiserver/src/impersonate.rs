//! `Impersonate-User` and its like: acting as somebody else, where a role says so.

use std::collections::BTreeMap;

use control_api::Status;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::api::Api;
use crate::authorize::{Attributes, authorize};
use crate::bearer::account_groups;
use crate::call::User;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
/// Groups and extra values of one request.
const VALUES_MAX: usize = 256;
const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";

/// The user that the request is of: who asks, or who they may act as.
pub fn impersonate(api: &Api, user: User, headers: &HeaderMap) -> Result<User, Status> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(user);
    }
    let wanted = Wanted::read(headers)?;
    wanted.allowed(api, &user)?;
    Ok(wanted.become_user())
}

#[derive(Default)]
struct Wanted {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    fn read(headers: &HeaderMap) -> Result<Self, Status> {
        let mut wanted = Self::default();
        let mut values = 0;
        for (name, value) in headers {
            let Some(name) = name.as_str().strip_prefix("impersonate-").map(|_| name.as_str()) else { continue };
            let value = value.to_str().map_err(|_| Status::bad_request(format!("header {name} cannot be read")))?;
            values += 1;
            if values > VALUES_MAX {
                return Err(Status::bad_request(format!("more than {VALUES_MAX} headers ask for impersonation")));
            }
            match name {
                USER => value.clone_into(&mut wanted.name),
                UID => value.clone_into(&mut wanted.uid),
                GROUP => wanted.groups.push(value.to_owned()),
                _ => {
                    let Some(key) = name.strip_prefix(EXTRA) else { continue };
                    let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
                    wanted.extra.entry(key).or_default().push(value.to_owned());
                }
            }
        }
        if wanted.name.is_empty() && values > 0 {
            let asked = (&wanted.groups, &wanted.extra, &wanted.uid);
            return Err(Status::internal(format!("requested {asked:?} without impersonating a user")));
        }
        Ok(wanted)
    }

    /// Namespace and name, where the user is a ServiceAccount.
    fn account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
    }

    /// Each part needs the verb `impersonate` on what it is.
    fn allowed(&self, api: &Api, user: &User) -> Result<(), Status> {
        let ask = |group, resource, subresource, namespace, name| {
            let verb = "impersonate";
            authorize(api, user, &Attributes::Resource { verb, group, resource, subresource, namespace, name })
        };
        match self.account() {
            Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name)?,
            None => ask("", "users", "", "", &self.name)?,
        }
        for group in &self.groups {
            ask("", "groups", "", "", group)?;
        }
        for (key, values) in &self.extra {
            for value in values {
                ask(AUTHENTICATION, "userextras", key, "", value)?;
            }
        }
        if self.uid.is_empty() { Ok(()) } else { ask(AUTHENTICATION, "uids", "", "", &self.uid) }
    }

    fn become_user(mut self) -> User {
        if let Some((namespace, _)) = self.account().filter(|_| self.groups.is_empty()) {
            self.groups = account_groups(namespace);
        }
        let wanted = if self.name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        let told = |group: &String| group == AUTHENTICATED || group == UNAUTHENTICATED;
        if !self.groups.iter().any(told) {
            self.groups.push(wanted.to_owned());
        }
        User { name: self.name, uid: self.uid, groups: self.groups, extra: self.extra }
    }
}
