//! What Kubernetes has and this cluster has not: `kubectl autoscale` and its like ask for it without looking first.

use control_api::{Reason, Status, name, resource};

const AUTOSCALERS: &str = "horizontalpodautoscalers";

/// What a client shows beside its own words: `kubectl autoscale --cpu-percent` of 1.37 keeps the answer to itself, and
/// speaks of what it tried next.
pub fn warning(path: &str) -> Option<String> {
    let (_, plural) = kind(path)?;
    (plural == AUTOSCALERS)
        .then(|| answer(path).message.replacen("the server could not find the requested resource: ", "", 1))
}

/// The answer to a path that nothing is served at; a kind that is missing is named.
pub fn answer(path: &str) -> Status {
    let mut status = Status::new(Reason::NotFound, "the server could not find the requested resource");
    if let Some((group, plural)) = kind(path) {
        let dot = if group.is_empty() { "" } else { "." };
        status.message += &format!(": this cluster does not have {plural}{dot}{group}");
        if plural == AUTOSCALERS {
            status.message += ", nothing is scaled automatically; `kubectl scale` sets the number of replicas";
        }
    }
    status
}

/// Group and plural of a path to objects of a kind that is not served in any version.
fn kind(path: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let (["namespaces", _, plural, ..] | [plural, ..]) = rest else { return None };
    let sound = name::dns_label(plural).is_empty() && (group.is_empty() || name::dns_subdomain(group).is_empty());
    let served = resource::served().any(|row| row.group == group && row.plural == *plural);
    (sound && !served).then_some((group, *plural))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kind_that_is_missing_is_named() {
        let autoscalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
        assert_eq!(kind(autoscalers), Some(("autoscaling", "horizontalpodautoscalers")));
        assert_eq!(kind("/api/v1/resourcequotas"), Some(("", "resourcequotas")));
        for path in ["/api/v1", "/x", "/api/v1/namespaces/a/pods/b/none", "/apis/apps/v9/deployments", "/api/v1/a%b"] {
            assert_eq!(kind(path), None, "{path}");
        }
        assert!(answer(autoscalers).message.contains("horizontalpodautoscalers.autoscaling, nothing is scaled"));
        assert!(warning(autoscalers).unwrap().starts_with("this cluster does not have horizontalpodautoscalers"));
        assert_eq!(warning("/api/v1/resourcequotas"), None);
    }
}
