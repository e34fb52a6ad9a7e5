//! CertificateSigningRequests: what is asked for never changes, and who approves and who signs write different fields.

use serde_json::{Value, json};

use crate::object::{child, get, items_mut, list, put, text};

/// Conditions that only `approval` writes.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];

/// An approval changes the conditions alone.
pub(super) fn keep_for_approval(new: &mut Value, old: &Value) {
    let conditions = get(new, "/status/conditions").cloned();
    put(new, "status", get(old, "/status").cloned());
    if let Some(status) = child(new, "status") {
        put(status, "conditions", conditions);
    }
}

pub(super) fn updated(new: &mut Value, old: &Value, subresource: Option<&str>) {
    put(new, "spec", get(old, "/spec").cloned());
    if subresource != Some("status") {
        return;
    }
    for kind in DECISIONS {
        let of_kind = |condition: &&Value| text(condition, "/type") == kind;
        let before: Vec<Value> = list(old, "/status/conditions").iter().filter(of_kind).cloned().collect();
        // One more or one less is told by validation.
        if list(new, "/status/conditions").iter().filter(of_kind).count() != before.len() {
            continue;
        }
        let Some(status) = child(new, "status") else { return };
        let places = items_mut(status, "conditions").filter(|condition| text(condition, "/type") == kind);
        for (place, condition) in places.zip(before) {
            *place = condition;
        }
    }
}

/// Dates the conditions that come without a date. Call before [`crate::strategy::prepare_update`].
pub fn date_conditions(new: &mut Value, old: &Value, now: &str) {
    let Some(status) = child(new, "status") else { return };
    for condition in items_mut(status, "conditions").filter(|condition| condition.is_object()) {
        if get(condition, "/lastUpdateTime").is_none() {
            condition["lastUpdateTime"] = json!(now);
        }
        if get(condition, "/lastTransitionTime").is_none() {
            let same = |known: &&Value| known["type"] == condition["type"] && known["status"] == condition["status"];
            let known = list(old, "/status/conditions").iter().find(same);
            let since = known.and_then(|known| get(known, "/lastTransitionTime")).cloned();
            condition["lastTransitionTime"] = since.unwrap_or_else(|| json!(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::CERTIFICATE_SIGNING_REQUESTS;
    use crate::strategy::prepare_update;

    fn approved() -> Value {
        json!({"type": "Approved", "status": "True", "reason": "r", "lastUpdateTime": "1", "lastTransitionTime": "1"})
    }

    #[test]
    fn an_approval_is_dated_and_changes_the_conditions_alone() {
        let old = json!({"metadata": {"name": "a"}, "spec": {"request": "r"}, "status": {}});
        let mut new = old.clone();
        new["spec"]["request"] = json!("other");
        new["status"] = json!({
            "certificate": "c", "conditions": [{"type": "Approved", "status": "True", "lastTransitionTime": null}],
        });
        date_conditions(&mut new, &old, "now");
        prepare_update(&CERTIFICATE_SIGNING_REQUESTS, &mut new, &old, Some("approval"));
        let condition =
            json!({"type": "Approved", "status": "True", "lastTransitionTime": "now", "lastUpdateTime": "now"});
        assert_eq!(new["status"], json!({"conditions": [condition]}));
        assert_eq!(new["spec"], old["spec"]);
    }

    #[test]
    fn a_signer_changes_the_certificate_and_leaves_the_decision() {
        let old = json!({"metadata": {"name": "a"}, "spec": {"request": "r"}, "status": {"conditions": [approved()]}});
        let mut new = old.clone();
        new["status"] = json!({
            "certificate": "c", "conditions": [{"type": "Approved", "status": "True", "reason": "mine"}],
        });
        date_conditions(&mut new, &old, "now");
        prepare_update(&CERTIFICATE_SIGNING_REQUESTS, &mut new, &old, Some("status"));
        assert_eq!(new["status"], json!({"certificate": "c", "conditions": [approved()]}));
        let mut plain = old.clone();
        plain["spec"]["request"] = json!("other");
        plain["status"] = json!({});
        prepare_update(&CERTIFICATE_SIGNING_REQUESTS, &mut plain, &old, None);
        assert_eq!(plain, old);
    }
}
