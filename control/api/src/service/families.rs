//! IP families. The cluster has IPv4 Services only, so what is filled in is single stack, but for headless Services
//! without a selector, whose endpoints are somebody else's and may be of both.

use serde_json::{Value, json};

use crate::object::{child, get, list, map, text};

use super::{is_headless, needs_cluster_ip};

pub const IPV4: &str = "IPv4";
const IPV6: &str = "IPv6";
const SINGLE: &str = "SingleStack";
const REQUIRE_DUAL: &str = "RequireDualStack";

pub(crate) fn selectorless(service: &Value) -> bool {
    map(service, "/spec/selector").is_none_or(|selector| selector.is_empty())
}

/// Policy and families where the Service does not say.
pub(super) fn fill(service: &mut Value, old: Option<&Value>) {
    if !needs_cluster_ip(service) {
        return;
    }
    let free = is_headless(service) && selectorless(service);
    let before = old.and_then(|old| get(old, "/spec/ipFamilyPolicy")).cloned();
    let first = list(service, "/spec/clusterIPs").first().and_then(Value::as_str).unwrap_or("").to_owned();
    let Some(spec) = child(service, "spec") else { return };
    if get(spec, "/ipFamilyPolicy").is_none() {
        spec["ipFamilyPolicy"] = before.unwrap_or_else(|| json!(if free { REQUIRE_DUAL } else { SINGLE }));
    }
    if list(spec, "/ipFamilies").is_empty() {
        let family = if first.contains(':') { IPV6 } else { IPV4 };
        spec["ipFamilies"] = json!([family]);
    }
    let dual = free && text(spec, "/ipFamilyPolicy") != SINGLE;
    if let (true, [one]) = (dual, list(spec, "/ipFamilies")) {
        let other = if one == IPV4 { IPV6 } else { IPV4 };
        spec["ipFamilies"] = json!([one, other]);
    }
}
