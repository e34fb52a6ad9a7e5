//! Every role and binding, parsed once: a request looks up its user and groups, and scans nothing.

use std::collections::HashMap;
use std::sync::Arc;

use control_store::Object;
use serde::Deserialize;

use super::rule::{Rule, list};
use crate::authorize::Attributes;
use crate::call::User;

/// What a binding gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRef {
    pub kind: String,
    pub name: String,
}

/// Whom a binding gives it to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RoleView {
    #[serde(deserialize_with = "list")]
    rules: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BindingView {
    role_ref: RoleRef,
    #[serde(deserialize_with = "list")]
    subjects: Vec<Subject>,
}

/// Why a rule holds for a user; shown as the reason of an access review.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    namespace: Arc<str>,
    binding: Arc<str>,
    role: RoleRef,
    subject: Subject,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (RoleRef { kind, name }, subject) = (&self.role, &self.subject);
        if self.namespace.is_empty() {
            write!(f, "ClusterRoleBinding {:?} of {kind} {name:?} to ", self.binding)?;
        } else {
            write!(f, "RoleBinding \"{}/{}\" of {kind} {name:?} to ", self.binding, self.namespace)?;
        }
        match subject.kind.as_str() {
            "ServiceAccount" => write!(f, "ServiceAccount \"{}/{}\"", subject.name, subject.namespace),
            kind => write!(f, "{kind} {:?}", subject.name),
        }
    }
}

type Grants = HashMap<String, Vec<Arc<Source>>>;
/// Namespace (empty for the cluster), then name.
type ByName<T> = HashMap<Arc<str>, HashMap<Arc<str>, T>>;

/// The grants of one namespace, or of the cluster.
#[derive(Debug, Default)]
struct Scope {
    users: Grants,
    groups: Grants,
}

/// Roles by name, and what is granted by subject.
#[derive(Debug, Default)]
pub struct Index {
    roles: ByName<Vec<Rule>>,
    bindings: ByName<Vec<Arc<Source>>>,
    scopes: HashMap<Arc<str>, Scope>,
}

/// Whether a subject stands for a user's name; otherwise for a group. `None` for a kind that nobody is.
fn user_of(subject: &Subject) -> Option<(bool, String)> {
    match subject.kind.as_str() {
        "User" => Some((true, subject.name.clone())),
        "Group" => Some((false, subject.name.clone())),
        "ServiceAccount" if !subject.namespace.is_empty() => {
            Some((true, format!("system:serviceaccount:{}:{}", subject.namespace, subject.name)))
        }
        _ => None,
    }
}

fn unreadable(object: &Object, error: &serde_json::Error) {
    tracing::error!(name = &*object.key.name, %error, "a role or binding cannot be read, and grants nothing");
}

impl Index {
    /// Takes one version of a Role or ClusterRole.
    pub fn put_role(&mut self, object: &Object) {
        let view: RoleView = serde_json::from_slice(&object.json).unwrap_or_else(|error| {
            unreadable(object, &error);
            RoleView::default()
        });
        self.roles.entry(object.key.namespace.clone()).or_default().insert(object.key.name.clone(), view.rules);
    }

    pub fn remove_role(&mut self, object: &Object) {
        if let Some(roles) = self.roles.get_mut(&object.key.namespace) {
            roles.remove(&object.key.name);
            if roles.is_empty() {
                self.roles.remove(&object.key.namespace);
            }
        }
    }

    /// Takes one version of a RoleBinding or ClusterRoleBinding.
    pub fn put_binding(&mut self, object: &Object) {
        self.remove_binding(object);
        let view: BindingView = serde_json::from_slice(&object.json).unwrap_or_else(|error| {
            unreadable(object, &error);
            BindingView::default()
        });
        let (namespace, name) = (&object.key.namespace, &object.key.name);
        let scope = self.scopes.entry(namespace.clone()).or_default();
        let mut sources = Vec::new();
        for mut subject in view.subjects {
            // An account of the binding's own namespace need not say so.
            if subject.kind == "ServiceAccount" && subject.namespace.is_empty() {
                subject.namespace = namespace.to_string();
            }
            let Some((is_user, key)) = user_of(&subject) else { continue };
            let (namespace, binding, role) = (namespace.clone(), name.clone(), view.role_ref.clone());
            let source = Arc::new(Source { namespace, binding, role, subject });
            let grants = if is_user { &mut scope.users } else { &mut scope.groups };
            grants.entry(key).or_default().push(source.clone());
            sources.push(source);
        }
        self.bindings.entry(namespace.clone()).or_default().insert(name.clone(), sources);
    }

    pub fn remove_binding(&mut self, object: &Object) {
        let namespace = &object.key.namespace;
        let Some(bindings) = self.bindings.get_mut(namespace) else { return };
        let sources = bindings.remove(&object.key.name).unwrap_or_default();
        if bindings.is_empty() {
            self.bindings.remove(namespace);
        }
        let Some(scope) = self.scopes.get_mut(namespace) else { return };
        for source in sources {
            let Some((is_user, key)) = user_of(&source.subject) else { continue };
            let grants = if is_user { &mut scope.users } else { &mut scope.groups };
            if let Some(list) = grants.get_mut(&key) {
                list.retain(|other| !Arc::ptr_eq(other, &source));
                if list.is_empty() {
                    grants.remove(&key);
                }
            }
        }
        if scope.users.is_empty() && scope.groups.is_empty() {
            self.scopes.remove(namespace);
        }
    }

    /// The rules that a role reference stands for; `namespace` is the binding's.
    pub fn rules_of(&self, kind: &str, name: &str, namespace: &str) -> Option<&[Rule]> {
        let namespace = match kind {
            "ClusterRole" => "",
            "Role" if !namespace.is_empty() => namespace,
            _ => return None,
        };
        self.roles.get(namespace)?.get(name).map(Vec::as_slice)
    }

    /// Shows `visit` every rule that holds for the user in the namespace, until it has seen enough and says false.
    /// Gives the bindings whose role is not there, in Kubernetes' words.
    pub fn visit<'a>(
        &'a self,
        user: &User,
        namespace: &str,
        mut visit: impl FnMut(&'a Source, &'a Rule) -> bool,
    ) -> Vec<String> {
        let mut missing = Vec::new();
        let scopes = [Some(""), (!namespace.is_empty()).then_some(namespace)];
        for scope in scopes.into_iter().flatten().filter_map(|scope| self.scopes.get(scope)) {
            let own = scope.users.get(&user.name).into_iter().flatten();
            let by_group = user.groups.iter().filter_map(|group| scope.groups.get(group)).flatten();
            for source in own.chain(by_group) {
                let RoleRef { kind, name } = &source.role;
                let Some(rules) = self.rules_of(kind, name, &source.namespace) else {
                    let resource = if kind == "Role" { "role" } else { "clusterrole" };
                    let words = format!("{resource}.rbac.authorization.k8s.io {name:?} not found");
                    if !missing.contains(&words) {
                        missing.push(words);
                    }
                    continue;
                };
                for rule in rules {
                    if !visit(source, rule) {
                        return missing;
                    }
                }
            }
        }
        missing
    }

    /// The grant that allows a request; otherwise what may have been meant to.
    pub fn allows(&self, user: &User, wanted: &Attributes<'_>) -> Result<&Source, Vec<String>> {
        let namespace = match *wanted {
            Attributes::Resource { namespace, .. } => namespace,
            Attributes::Path { .. } => "",
        };
        let mut found = None;
        let missing = self.visit(user, namespace, |source, rule| {
            if rule.allows(wanted) {
                found = Some(source);
            }
            found.is_none()
        });
        found.ok_or(missing)
    }
}
