//! Whether rules hold all that other rules do, as Kubernetes decides who may grant what.

use super::rule::{Rule, url_covers};

const ALL: &str = "*";

/// What of `wanted` is not covered by `owned`, in its smallest parts.
pub fn missing(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(parts);
    parts.filter(|part| !owned.iter().any(|own| covers(own, part))).collect()
}

/// A rule as rules of one verb, one group, one resource and one name each.
fn parts(rule: &Rule) -> Vec<Rule> {
    let mut parts = Vec::new();
    let one = |text: &String| vec![text.clone()];
    for verb in &rule.verbs {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let part =
                    Rule { verbs: one(verb), api_groups: one(group), resources: one(resource), ..Rule::default() };
                if rule.resource_names.is_empty() {
                    parts.push(part);
                } else {
                    let named = rule.resource_names.iter();
                    parts.extend(named.map(|name| Rule { resource_names: one(name), ..part.clone() }));
                }
            }
        }
        for url in &rule.non_resource_urls {
            parts.push(Rule { verbs: one(verb), non_resource_urls: one(url), ..Rule::default() });
        }
    }
    parts
}

/// Whether one rule holds all of a part.
fn covers(own: &Rule, part: &Rule) -> bool {
    let all = |own: &[String], wanted: &[String]| {
        own.iter().any(|item| item == ALL) || wanted.iter().all(|item| own.contains(item))
    };
    let names = own.resource_names.is_empty()
        || (!part.resource_names.is_empty()
            && part.resource_names.iter().all(|name| own.resource_names.contains(name)));
    all(&own.verbs, &part.verbs)
        && all(&own.api_groups, &part.api_groups)
        && part.resources.iter().all(|wanted| own.resources.iter().any(|own| resource_covers(own, wanted)))
        && names
        && part.non_resource_urls.iter().all(|wanted| own.non_resource_urls.iter().any(|own| url_covers(own, wanted)))
}

fn resource_covers(own: &str, wanted: &str) -> bool {
    let by_owner = || wanted.split_once('/').is_some_and(|(_, sub)| own.strip_prefix("*/") == Some(sub));
    own == ALL || own == wanted || by_owner()
}

/// Rules of the same resource and names put together, for a message.
pub fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut compacted: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = |other: &&mut Rule| {
            !rule.resources.is_empty()
                && other.api_groups == rule.api_groups
                && other.resources == rule.resources
                && other.resource_names == rule.resource_names
        };
        match compacted.iter_mut().find(same) {
            Some(other) => other.verbs.extend(rule.verbs),
            None => compacted.push(rule),
        }
    }
    compacted
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rules(value: Value) -> Vec<Rule> {
        serde_json::from_value(value).expect("parses")
    }

    #[test]
    fn what_is_missing_is_told_in_its_smallest_parts() {
        let owned = rules(json!([
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["*"], "apiGroups": ["apps"], "resources": ["*/scale"]},
        ]));
        let wanted = rules(json!([
            {"verbs": ["get", "create", "delete"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["update"], "apiGroups": ["apps"], "resources": ["deployments/scale"]},
        ]));
        let words: Vec<String> = compact(missing(&owned, &wanted)).iter().map(Rule::compact).collect();
        assert_eq!(words, [r#"{APIGroups:[""], Resources:["pods"], Verbs:["create" "delete"]}"#]);
    }

    #[test]
    fn a_narrow_rule_does_not_cover_a_wide_one() {
        let narrow =
            rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}]));
        let wide = rules(json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]));
        assert_eq!(missing(&narrow, &wide).len(), 1);
        assert!(missing(&wide, &narrow).is_empty());
        let all = rules(json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]));
        assert_eq!(missing(&wide, &all).len(), 1);
        assert!(missing(&all, &wide).is_empty());
    }

    #[test]
    fn paths_are_covered_by_their_beginning() {
        let owned = rules(json!([{"verbs": ["get"], "nonResourceURLs": ["/api/*"]}]));
        let inside = rules(json!([{"verbs": ["get"], "nonResourceURLs": ["/api/v1", "/api/v2/*"]}]));
        let outside = rules(json!([{"verbs": ["get"], "nonResourceURLs": ["*"]}]));
        assert!(missing(&owned, &inside).is_empty());
        assert_eq!(missing(&owned, &outside).len(), 1);
    }
}
