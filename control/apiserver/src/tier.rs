//! How durable a write is. An idle cluster must not wear out its card, and an acknowledged wish must survive.

use control_api::Resource;
use control_api::resource::{EVENTS, LEASES, NODES, PODS};
use control_store::Tier;
use serde_json::Value;

/// Node heartbeats live here, and never on the card.
pub(crate) const NODE_LEASES: &str = "kube-node-lease";

/// The tier of a write that makes `new` of `old`; a deletion has no `new`, a creation no `old`.
pub fn of(
    resource: &Resource,
    namespace: &str,
    subresource: Option<&str>,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Tier {
    if resource == &EVENTS {
        return Tier::Lazy;
    }
    if resource == &LEASES && namespace == NODE_LEASES {
        return Tier::Volatile;
    }
    let (Some(old), Some(new)) = (old, new) else { return Tier::Durable };
    if resource == &LEASES && only_renewed(old, new) {
        return Tier::Lazy;
    }
    // Agents send status again after a restart of theirs or ours.
    if subresource == Some("status") && (resource == &PODS || resource == &NODES) {
        return Tier::Lazy;
    }
    Tier::Durable
}

/// Whether two Leases differ in `spec.renewTime` alone.
fn only_renewed(old: &Value, new: &Value) -> bool {
    let without = |lease: &Value| {
        let mut lease = lease.clone();
        lease["spec"]["renewTime"] = Value::Null;
        lease["metadata"]["resourceVersion"] = Value::Null;
        lease
    };
    without(old) == without(new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_renewed_lease_is_lazy_and_a_new_holder_is_durable() {
        let lease =
            |holder: &str, time: &str| json!({"metadata": {}, "spec": {"holderIdentity": holder, "renewTime": time}});
        let tier = |old: &Value, new: &Value| of(&LEASES, "default", None, Some(old), Some(new));
        assert_eq!(tier(&lease("a", "1"), &lease("a", "2")), Tier::Lazy);
        assert_eq!(tier(&lease("a", "1"), &lease("b", "2")), Tier::Durable);
        assert_eq!(of(&LEASES, "default", None, None, Some(&lease("a", "1"))), Tier::Durable);
    }
}
