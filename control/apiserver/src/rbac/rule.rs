//! One rule of a role, and whether it allows a request.

use serde::{Deserialize, Deserializer, Serialize};

use crate::authorize::Attributes;

const ALL: &str = "*";

/// A `rbac/v1 PolicyRule`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    #[serde(deserialize_with = "list")]
    pub verbs: Vec<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// A list that a client wrote as null is empty.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

impl Rule {
    pub fn allows(&self, wanted: &Attributes<'_>) -> bool {
        match *wanted {
            Attributes::Path { verb, path } => {
                has(&self.verbs, verb) && self.non_resource_urls.iter().any(|url| url_covers(url, path))
            }
            Attributes::Resource { verb, group, resource, subresource, name, .. } => {
                has(&self.verbs, verb)
                    && has(&self.api_groups, group)
                    && self.resources.iter().any(|own| resource_matches(own, resource, subresource))
                    && (self.resource_names.is_empty() || self.resource_names.iter().any(|own| own == name))
            }
        }
    }

    /// As Kubernetes writes a rule into a message: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    pub fn compact(&self) -> String {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts = parts.iter().filter(|(_, list)| !list.is_empty());
        let parts: Vec<String> = parts.map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// A list of texts as Go's `%q` prints it.
pub fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

/// `pods`, `pods/log`, `*`, and `*/scale` for a subresource of every resource.
fn resource_matches(own: &str, resource: &str, subresource: &str) -> bool {
    if own == ALL {
        return true;
    }
    match own.split_once('/') {
        None => subresource.is_empty() && own == resource,
        Some((owner, sub)) => !subresource.is_empty() && sub == subresource && (owner == resource || owner == ALL),
    }
}

/// Whether a rule's path, which may end in `*`, holds `path`.
pub fn url_covers(own: &str, path: &str) -> bool {
    own == path || (own.ends_with('*') && path.starts_with(own.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
        Rule {
            verbs: owned(verbs),
            api_groups: owned(groups),
            resources: owned(resources),
            resource_names: owned(names),
            non_resource_urls: Vec::new(),
        }
    }

    fn asks<'a>(
        verb: &'a str,
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        name: &'a str,
    ) -> Attributes<'a> {
        Attributes::Resource { verb, group, resource, subresource, namespace: "default", name }
    }

    #[test]
    fn a_resource_is_not_its_subresources() {
        let pods = rule(&["get"], &[""], &["pods"], &[]);
        assert!(pods.allows(&asks("get", "", "pods", "", "a")));
        assert!(!pods.allows(&asks("get", "", "pods", "log", "a")));
        assert!(!pods.allows(&asks("list", "", "pods", "", "")));
        assert!(!pods.allows(&asks("get", "apps", "pods", "", "a")));
        let logs = rule(&["get"], &[""], &["pods/log"], &[]);
        assert!(logs.allows(&asks("get", "", "pods", "log", "a")));
        assert!(!logs.allows(&asks("get", "", "pods", "", "a")));
    }

    #[test]
    fn stars_stand_for_verbs_groups_resources_and_owners_of_a_subresource() {
        let all = rule(&["*"], &["*"], &["*"], &[]);
        assert!(all.allows(&asks("escalate", "apps", "deployments", "scale", "a")));
        let scales = rule(&["update"], &["apps"], &["*/scale"], &[]);
        assert!(scales.allows(&asks("update", "apps", "deployments", "scale", "a")));
        assert!(!scales.allows(&asks("update", "apps", "deployments", "status", "a")));
        assert!(!scales.allows(&asks("update", "apps", "deployments", "", "a")));
    }

    #[test]
    fn names_narrow_a_rule_to_requests_that_carry_one_of_them() {
        let one = rule(&["get", "list"], &[""], &["configmaps"], &["a"]);
        assert!(one.allows(&asks("get", "", "configmaps", "", "a")));
        assert!(!one.allows(&asks("get", "", "configmaps", "", "b")));
        assert!(!one.allows(&asks("list", "", "configmaps", "", "")));
    }

    #[test]
    fn a_path_may_end_in_a_star() {
        let paths = Rule {
            verbs: vec!["get".to_owned()],
            non_resource_urls: vec!["/api/*".to_owned(), "/version".to_owned()],
            ..Rule::default()
        };
        assert!(paths.allows(&Attributes::Path { verb: "get", path: "/api/v1" }));
        assert!(paths.allows(&Attributes::Path { verb: "get", path: "/version" }));
        assert!(!paths.allows(&Attributes::Path { verb: "get", path: "/version/x" }));
        assert!(!paths.allows(&Attributes::Path { verb: "post", path: "/version" }));
        assert!(!paths.allows(&asks("get", "", "pods", "", "a")));
    }

    #[test]
    fn a_null_list_is_empty() {
        let rule: Rule = serde_json::from_str(r#"{"verbs": ["get"], "apiGroups": null}"#).expect("parses");
        assert!(rule.api_groups.is_empty());
        assert_eq!(rule.compact(), r#"{Verbs:["get"]}"#);
    }
}
