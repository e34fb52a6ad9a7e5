//! Field selectors: `metadata.name=a,spec.nodeName!=b`.

use serde_json::Value;

use crate::resource::Resource;

/// Terms accepted in one selector.
const TERMS_MAX: usize = 64;

/// Pairs of path, whether equal, and value; all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    pub terms: Vec<(String, bool, String)>,
}

/// A field selector that cannot be read or evaluated, worded as Kubernetes does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldSelectorError {
    #[error("invalid selector: '{0}'; can't understand '{1}'")]
    Syntax(String, String),
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    #[error("field label not supported: {0}")]
    Unsupported(String),
    #[error("field selector has more than {TERMS_MAX} terms")]
    TooMany,
}

impl FieldSelector {
    /// Reads the query form; `\\`, `\,` and `\=` are escapes.
    pub fn parse(text: &str) -> Result<Self, FieldSelectorError> {
        let mut terms = Vec::new();
        for term in split_unescaped(text) {
            if term.is_empty() {
                continue;
            }
            if terms.len() == TERMS_MAX {
                return Err(FieldSelectorError::TooMany);
            }
            let syntax = || FieldSelectorError::Syntax(text.to_owned(), term.to_owned());
            let (path, equal, value) = split_term(term).ok_or_else(syntax)?;
            terms.push((path.to_owned(), equal, unescape(value)?));
        }
        Ok(Self { terms })
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Refuses a term on a field that `resource` cannot be selected by.
    pub fn check(&self, resource: &Resource) -> Result<(), FieldSelectorError> {
        let known = |path: &str| match path {
            "metadata.name" => true,
            "metadata.namespace" => resource.namespaced(),
            other => supported_fields(resource).contains(&other),
        };
        match self.terms.iter().find(|(path, ..)| !known(path)) {
            Some((path, ..)) => Err(FieldSelectorError::Unsupported(path.clone())),
            None => Ok(()),
        }
    }

    /// The value that the selector demands of `path` by equality, for going straight to one object or index.
    pub fn equal_to(&self, path: &str) -> Option<&str> {
        self.terms.iter().find(|(term, equal, _)| *equal && term == path).map(|(_, _, value)| value.as_str())
    }

    /// Evaluates every term against an object; an absent field is the empty string.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|(path, equal, wanted)| (field_text(object, path) == *wanted) == *equal)
    }
}

/// Fields beside `metadata.name` and `metadata.namespace` that `resource` can be selected by.
pub fn supported_fields(resource: &Resource) -> &'static [&'static str] {
    match resource.group_resource().as_str() {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        "nodes" => &["spec.unschedulable"],
        "namespaces" => &["status.phase"],
        "secrets" => &["type"],
        "replicasets.apps" | "replicationcontrollers" => &["status.replicas"],
        "certificatesigningrequests.certificates.k8s.io" => &["spec.signerName"],
        "jobs.batch" => &["status.successful"],
        "services" => &["spec.clusterIP", "spec.type"],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        _ => &[],
    }
}

/// A field as the selector compares it: booleans that Kubernetes always sets read `false` when absent.
fn field_text(object: &Value, path: &str) -> String {
    if path == "source" {
        let component = object.pointer("/source/component").and_then(Value::as_str).unwrap_or("");
        let reporting = || object.get("reportingComponent").and_then(Value::as_str).unwrap_or("");
        return if component.is_empty() { reporting().to_owned() } else { component.to_owned() };
    }
    // The selector keeps the name that the count had before it was `succeeded`.
    let path = if path == "status.successful" { "status.succeeded" } else { path };
    match path.split('.').try_fold(object, |value, part| value.get(part)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None if matches!(path, "spec.unschedulable" | "spec.hostNetwork") => "false".to_owned(),
        Some(Value::Null) | None if matches!(path, "status.replicas" | "status.succeeded") => "0".to_owned(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Splits at commas that no backslash escapes.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let bytes = term.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\\', _) => at += 1,
            (b'!', Some(b'=')) => return Some((&term[..at], false, &term[at + 2..])),
            (b'=', Some(b'=')) => return Some((&term[..at], true, &term[at + 2..])),
            (b'=', _) => return Some((&term[..at], true, &term[at + 1..])),
            _ => {}
        }
        at += 1;
    }
    None
}

fn unescape(value: &str) -> Result<String, FieldSelectorError> {
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                other => {
                    let tail: String = other.into_iter().collect();
                    return Err(FieldSelectorError::Escape(format!("\\{tail}")));
                }
            },
            ',' | '=' => return Err(FieldSelectorError::Syntax(value.to_owned(), letter.to_string())),
            other => text.push(other),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::{CONFIG_MAPS, JOBS, NODES, PODS, SERVICES};

    #[test]
    fn terms_compare_fields_as_text() {
        let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}});
        for (text, matched) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a,spec.nodeName!=n2", true),
            ("spec.nodeName=", false),
            ("status.phase=", true),
            ("spec.hostNetwork=false", true),
        ] {
            let selector = FieldSelector::parse(text).expect(text);
            assert_eq!(selector.matches(&pod), matched, "{text}");
            assert_eq!(selector.check(&PODS), Ok(()));
        }
        let cordoned = json!({"spec": {"unschedulable": true}});
        assert!(FieldSelector::parse("spec.unschedulable=true").expect("parses").matches(&cordoned));
        assert!(FieldSelector::parse("spec.unschedulable=false").expect("parses").matches(&json!({})));
    }

    #[test]
    fn jobs_are_selected_by_their_successes_and_services_by_type() {
        let selector = FieldSelector::parse("status.successful=0").expect("parses");
        assert_eq!(selector.check(&JOBS), Ok(()));
        assert!(selector.matches(&json!({"status": {}})));
        assert!(!selector.matches(&json!({"status": {"succeeded": 2}})));
        let selector = FieldSelector::parse("spec.type=NodePort,spec.clusterIP!=None").expect("parses");
        assert_eq!(selector.check(&SERVICES), Ok(()));
        assert!(selector.matches(&json!({"spec": {"type": "NodePort", "clusterIP": "10.43.0.2"}})));
    }

    #[test]
    fn an_unknown_field_is_named() {
        let selector = FieldSelector::parse("spec.foo=1").expect("parses");
        assert_eq!(
            selector.check(&CONFIG_MAPS).map_err(|e| e.to_string()),
            Err("field label not supported: spec.foo".into())
        );
        let selector = FieldSelector::parse("metadata.namespace=a").expect("parses");
        assert!(selector.check(&NODES).is_err());
    }

    #[test]
    fn escapes_are_undone_and_nonsense_is_refused() {
        let selector = FieldSelector::parse(r"reason=a\,b\=c").expect("parses");
        assert_eq!(selector.equal_to("reason"), Some("a,b=c"));
        assert!(FieldSelector::parse("abc").is_err());
        assert!(FieldSelector::parse(r"a=\x").is_err());
        assert!(FieldSelector::parse("a=b=c").is_err());
    }
}
