//! A DaemonSet's template generation: an old counter of template changes that clients see as an annotation.

use serde_json::{Value, json};

use crate::object::{child, get, text};

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn created(object: &mut Value) {
    set(object, 1);
}

pub(super) fn updated(new: &mut Value, old: &Value) {
    let pointer = format!("/metadata/annotations/{TEMPLATE_GENERATION}");
    let before: i64 = text(old, &pointer).parse().unwrap_or(1);
    let changed = get(new, "/spec/template") != get(old, "/spec/template");
    set(new, if changed { before.saturating_add(1) } else { before });
}

fn set(object: &mut Value, generation: i64) {
    let annotations = child(object, "metadata").and_then(|metadata| child(metadata, "annotations"));
    if let Some(annotations) = annotations {
        annotations[TEMPLATE_GENERATION] = json!(generation.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_changed_template_counts() {
        let mut old = json!({"metadata": {"name": "a"}, "spec": {"template": {"a": 1}}});
        created(&mut old);
        assert_eq!(old["metadata"]["annotations"][TEMPLATE_GENERATION], "1");
        let mut new = json!({"metadata": {"name": "a"}, "spec": {"template": {"a": 1}}});
        updated(&mut new, &old);
        assert_eq!(new, old);
        new["spec"]["template"] = json!({"a": 2});
        updated(&mut new, &old);
        assert_eq!(new["metadata"]["annotations"][TEMPLATE_GENERATION], "2");
    }
}
