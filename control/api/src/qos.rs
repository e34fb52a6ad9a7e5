//! A pod's quality of service class, from the requests and limits of its containers.

use serde_json::Value;

use crate::object::{list, map};
use crate::quantity::Quantity;

/// `Guaranteed`: cpu and memory limited everywhere, requests equal; `BestEffort`: nothing stated; else `Burstable`.
pub fn class(pod: &Value) -> &'static str {
    let mut stated = false;
    let mut guaranteed = true;
    for container in list(pod, "/spec/containers").iter().chain(list(pod, "/spec/initContainers")) {
        for name in ["cpu", "memory"] {
            let limit = amount(container, "limits", name);
            let request = amount(container, "requests", name).or(limit);
            stated |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (stated, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// A stated amount that is not zero.
fn amount(container: &Value, list: &str, name: &str) -> Option<Quantity> {
    let amounts = map(container, &format!("/resources/{list}"))?;
    let quantity = Quantity::parse(amounts.get(name)?.as_str()?).ok()?;
    (!quantity.is_zero()).then_some(quantity)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_class_follows_requests_and_limits() {
        let both = json!({"cpu": "1", "memory": "1Gi"});
        for (resources, wanted) in [
            (json!({}), "BestEffort"),
            (json!({"limits": both}), "Guaranteed"),
            (json!({"limits": both, "requests": {"cpu": "1000m"}}), "Guaranteed"),
            (json!({"limits": both, "requests": {"cpu": "1m"}}), "Burstable"),
            (json!({"requests": {"cpu": "1m"}}), "Burstable"),
            (json!({"limits": {"cpu": "1"}}), "Burstable"),
        ] {
            let pod = json!({"spec": {"containers": [{"name": "a", "resources": resources}]}});
            assert_eq!(class(&pod), wanted, "{resources}");
        }
    }
}
