//! Label selectors: their meaning, and their object form.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parse;

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
    /// The value is an integer above the bound.
    GreaterThan(String, i64),
    /// The value is an integer below the bound.
    LessThan(String, i64),
}

/// All requirements must hold; an empty selector matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    pub requirements: Vec<Requirement>,
}

/// A selector that cannot be read; the text names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The query form.
    #[error("unable to parse requirement: {0}")]
    Requirement(String),
    /// A form that is not the shape of a selector.
    #[error("{0}")]
    Shape(String),
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let number = |key: &String| labels.get(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
            Self::GreaterThan(key, bound) => number(key).is_some_and(|value| value > *bound),
            Self::LessThan(key, bound) => number(key).is_some_and(|value| value < *bound),
        }
    }
}

impl LabelSelector {
    /// Reads the query form: `a=b,c in (d,e),!f`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::requirements(text).map(|requirements| Self { requirements })
    }

    /// Reads the object form: `{matchLabels, matchExpressions}`. Null matches nothing in Kubernetes, so it is refused;
    /// an empty object matches everything.
    pub fn from_value(selector: &Value) -> Result<Self, SelectorError> {
        let shape = |text: &str| SelectorError::Shape(text.to_owned());
        let fields = selector.as_object().ok_or_else(|| shape("selector must be an object"))?;
        let mut requirements = Vec::new();
        if let Some(pairs) = fields.get("matchLabels").filter(|pairs| !pairs.is_null()) {
            let pairs = pairs.as_object().ok_or_else(|| shape("matchLabels must be an object"))?;
            for (key, value) in pairs {
                let value = value.as_str().ok_or_else(|| shape("matchLabels values must be strings"))?;
                requirements.push(Requirement::In(key.clone(), vec![value.to_owned()]));
            }
        }
        if let Some(list) = fields.get("matchExpressions").filter(|list| !list.is_null()) {
            let list = list.as_array().ok_or_else(|| shape("matchExpressions must be a list"))?;
            for expression in list {
                requirements.push(from_expression(expression)?);
            }
        }
        Ok(Self { requirements })
    }

    /// Reads a plain map of labels, as in `ReplicationController.spec.selector` or `nodeSelector`.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let equals = |(key, value): (&String, &String)| Requirement::In(key.clone(), vec![value.clone()]);
        Self { requirements: labels.iter().map(equals).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }
}

/// One entry of `matchExpressions`; also of a node affinity's, which adds `Gt` and `Lt`.
fn from_expression(expression: &Value) -> Result<Requirement, SelectorError> {
    let shape = |text: String| SelectorError::Shape(text);
    let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    let values: Vec<String> = expression
        .get("values")
        .and_then(Value::as_array)
        .map(|values| values.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let (key, operator) = (text("key"), text("operator"));
    let bound = || match values.as_slice() {
        [one] => one
            .parse::<i64>()
            .map_err(|_| shape(format!("for 'Gt', 'Lt' operators, the value must be an integer: {one}"))),
        _ => Err(shape("for 'Gt', 'Lt' operators, exactly one value is required".to_owned())),
    };
    match operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            Err(shape("for 'in', 'notin' operators, values set can't be empty".to_owned()))
        }
        "In" => Ok(Requirement::In(key, values)),
        "NotIn" => Ok(Requirement::NotIn(key, values)),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            Err(shape("values set must be empty for exists and does not exist".to_owned()))
        }
        "Exists" => Ok(Requirement::Exists(key)),
        "DoesNotExist" => Ok(Requirement::DoesNotExist(key)),
        "Gt" => Ok(Requirement::GreaterThan(key, bound()?)),
        "Lt" => Ok(Requirement::LessThan(key, bound()?)),
        other => Err(shape(format!("\"{other}\" is not a valid label selector operator"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split(',').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn the_query_form_selects_as_kubernetes_documents_it() {
        let cases = [
            ("", "a=b", true),
            ("a=b", "a=b", true),
            ("a==b", "a=b", true),
            ("a!=b", "a=b", false),
            ("a!=b", "c=d", true),
            ("a in (b,c)", "a=c", true),
            ("a in (b, c)", "a=d", false),
            ("a in (b)", "x=y", false),
            ("a notin (b,c)", "a=b", false),
            ("a notin (b,c)", "x=y", true),
            ("a", "a=b", true),
            ("a", "x=y", false),
            ("!a", "x=y", true),
            ("! a", "a=b", false),
            ("a=b,c!=d", "a=b,c=e", true),
            ("a = b , c in (d)", "a=b,c=d", true),
            ("a=", "a=", true),
            ("a in (,b)", "a=", true),
            ("x>5", "x=6", true),
            ("x<5", "x=6", false),
            ("app.kubernetes.io/name=web", "app.kubernetes.io/name=web", true),
            ("in in (in)", "in=in", true),
        ];
        for (text, have, matched) in cases {
            let selector = LabelSelector::parse(text).expect(text);
            assert_eq!(selector.matches(&labels(have)), matched, "{text} on {have}");
        }
    }

    #[test]
    fn errors_are_in_kubernetes_words() {
        let cases = [
            ("a=b,", "unable to parse requirement: found '', expected: identifier after ','"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("=a", "unable to parse requirement: found '=', expected: !, identifier, or 'end of string'"),
            ("a=b=c", "unable to parse requirement: found '=', expected: ',' or 'end of string'"),
        ];
        for (text, message) in cases {
            let error = LabelSelector::parse(text).expect_err(text);
            assert_eq!(error.to_string(), message, "{text}");
        }
        for text in ["a=b c", "a in (b", "-a=b", "a=-b", "x>a", "a in ()=", "!", ",", "a==", "/a=b"] {
            let parsed = LabelSelector::parse(text);
            assert!(parsed.is_err() || text == "a==", "{text}: {parsed:?}");
        }
    }

    #[test]
    fn the_object_form_combines_labels_and_expressions() {
        let selector = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        });
        let selector = LabelSelector::from_value(&selector).expect("reads");
        assert!(selector.matches(&labels("app=web,tier=a")));
        assert!(!selector.matches(&labels("app=web,tier=c")));
        assert!(!selector.matches(&labels("app=web,tier=a,old=1")));
        assert!(LabelSelector::from_value(&json!({"matchExpressions": [{"key": "a", "operator": "Is"}]})).is_err());
        assert!(LabelSelector::from_value(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]})).is_err());
    }
}
