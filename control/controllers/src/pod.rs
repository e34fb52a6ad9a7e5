//! What controllers ask about a pod, as Kubernetes' `podutil` answers it.

use control_api::view::core::{Pod, PodCondition};
use jiff::Timestamp;

use crate::world::World;

/// When a pod counts as available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Now,
    /// Ready, but not for long enough yet; in so many seconds it will be.
    InSeconds(i64),
    No,
}

pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Neither finished nor being deleted.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when the pod is ready.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

pub fn availability(pod: &Pod, ready_seconds_min: i32, world: &World) -> Availability {
    if !is_ready(pod) {
        return Availability::No;
    }
    if ready_seconds_min == 0 {
        return Availability::Now;
    }
    let Some(since) = ready_since(pod) else { return Availability::No };
    let missing = i64::from(ready_seconds_min) - world.age_seconds(since);
    if missing <= 0 { Availability::Now } else { Availability::InSeconds(missing) }
}

pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    statuses.iter().map(|status| status.restart_count).max().unwrap_or(0)
}
