//! Requests and limits as the kernel's numbers, and the service class they make.

use control_api::quantity::Quantity;
use control_api::view::core::{Container, Pod, PodSpec, ResourceRequirements};
use serde::{Deserialize, Serialize};

/// A core as cgroup v1 counts its weight, and the least weight.
const SHARES_PER_CORE: i64 = 1024;
const SHARES_MIN: i64 = 2;
/// The window in which a quota is spent, as the kubelet has it; and the least quota the kernel takes.
const QUOTA_PERIOD_US: u64 = 100_000;
const QUOTA_US_MIN: i64 = 1_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    #[default]
    BestEffort,
}

impl QosClass {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// `None` leaves the kernel's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub cpu_shares: Option<u64>,
    pub cpu_quota_us: Option<i64>,
    pub cpu_period_us: Option<u64>,
    pub memory_bytes: Option<i64>,
}

/// One container's asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asks {
    pub cpu_request_milli: Option<i64>,
    pub cpu_limit_milli: Option<i64>,
    pub memory_request_bytes: Option<i64>,
    pub memory_limit_bytes: Option<i64>,
}

fn amount(list: Option<&Amounts>, name: &str, milli: bool) -> Option<i64> {
    let quantity = Quantity::parse(&list?.get(name)?.0).ok()?;
    let value = if milli { quantity.milli() } else { quantity.units() };
    i64::try_from(value).ok()
}

type Amounts = std::collections::BTreeMap<String, control_api::view::Quantity>;

impl Asks {
    /// A request that is absent is the limit, as defaulting has it.
    pub fn of(resources: Option<&ResourceRequirements>) -> Self {
        let limits = resources.and_then(|r| r.limits.as_ref());
        let requests = resources.and_then(|r| r.requests.as_ref());
        let cpu_limit_milli = amount(limits, "cpu", true);
        let memory_limit_bytes = amount(limits, "memory", false);
        Self {
            cpu_request_milli: amount(requests, "cpu", true).or(cpu_limit_milli),
            cpu_limit_milli,
            memory_request_bytes: amount(requests, "memory", false).or(memory_limit_bytes),
            memory_limit_bytes,
        }
    }

    pub fn limits(&self) -> Limits {
        let quota = self.cpu_limit_milli.filter(|milli| *milli > 0);
        let quota = quota.map(|milli| (milli.saturating_mul(QUOTA_PERIOD_US as i64) / 1000).max(QUOTA_US_MIN));
        let shares = (self.cpu_request_milli.unwrap_or(0).saturating_mul(SHARES_PER_CORE) / 1000).max(SHARES_MIN);
        Limits {
            cpu_shares: u64::try_from(shares).ok(),
            cpu_quota_us: quota,
            cpu_period_us: quota.map(|_| QUOTA_PERIOD_US),
            memory_bytes: self.memory_limit_bytes.filter(|bytes| *bytes > 0),
        }
    }
}

fn all_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// The service class by Kubernetes' rules: only cpu and memory count.
pub fn qos(pod: &Pod) -> QosClass {
    let Some(spec) = &pod.spec else { return QosClass::BestEffort };
    let (mut any, mut all_equal) = (false, true);
    for container in all_containers(spec) {
        let asks = Asks::of(container.resources.as_ref());
        let set = |value: Option<i64>| value.is_some_and(|value| value != 0);
        any |= set(asks.cpu_request_milli) || set(asks.memory_request_bytes);
        all_equal &= set(asks.cpu_limit_milli) && set(asks.memory_limit_bytes);
        all_equal &= asks.cpu_request_milli == asks.cpu_limit_milli;
        all_equal &= asks.memory_request_bytes == asks.memory_limit_bytes;
    }
    match (any, all_equal) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

/// The most that the containers which run at a time take; None where one does not say.
pub(crate) fn most(spec: &PodSpec, of: impl Fn(&Container) -> Option<i64>) -> Option<i64> {
    // Sidecars run beside all that comes after them.
    let (mut starting, mut sidecars) = (0, 0_i64);
    for container in spec.init_containers.iter().flatten() {
        let one = of(container)?;
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars.saturating_add(one);
        }
        let beside = if container.restart_policy.as_deref() == Some("Always") { 0 } else { one };
        starting = starting.max(sidecars.saturating_add(beside));
    }
    let running = spec.containers.iter().try_fold(sidecars, |sum, one| Some(sum.saturating_add(of(one)?)))?;
    Some(starting.max(running))
}

/// What the pod asks for of a resource that is counted in whole units.
pub fn request(pod: &Pod, resource: &str) -> u64 {
    let of = |one: &Container| one.resources.as_ref().and_then(|all| amount(all.requests.as_ref(), resource, false));
    let most = pod.spec.as_ref().and_then(|spec| most(spec, |one| Some(of(one).unwrap_or(0))));
    most.and_then(|most| u64::try_from(most).ok()).unwrap_or(0)
}

/// The pod's own cgroup: shares add up; a limit holds only where every container has one.
pub fn pod_limits(pod: &Pod) -> Limits {
    let Some(spec) = &pod.spec else { return Limits::default() };
    let most = |field: fn(&Asks) -> Option<i64>| most(spec, |one| field(&Asks::of(one.resources.as_ref())));
    Asks {
        cpu_request_milli: most(|a| Some(a.cpu_request_milli.unwrap_or(0))),
        cpu_limit_milli: most(|a| a.cpu_limit_milli),
        memory_limit_bytes: most(|a| a.memory_limit_bytes),
        memory_request_bytes: None,
    }
    .limits()
}

/// How ready the kernel is to kill the container when memory ends, as the kubelet computes it.
pub fn oom_score_adj(qos: QosClass, asks: &Asks, node_memory_bytes: i64) -> i32 {
    match qos {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let request = asks.memory_request_bytes.unwrap_or(0).max(0);
            let score = 1000 - 1000_i64.saturating_mul(request) / node_memory_bytes.max(1);
            i32::try_from(score.clamp(3, 999)).expect("clamped")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(containers: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap()
    }

    #[test]
    fn classes_follow_requests_and_limits() {
        assert_eq!(qos(&pod(json!([{"name": "a"}]))), QosClass::BestEffort);
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        assert_eq!(qos(&pod(json!([{"name": "a", "resources": full}]))), QosClass::Guaranteed);
        assert_eq!(qos(&pod(json!([{"name": "a", "resources": full}, {"name": "b"}]))), QosClass::Burstable);
        let some = json!({"requests": {"cpu": "100m"}});
        assert_eq!(qos(&pod(json!([{"name": "a", "resources": some}]))), QosClass::Burstable);
    }

    #[test]
    fn a_limit_becomes_a_quota_and_a_request_a_weight() {
        let pod = pod(json!([{"name": "a", "resources": {
            "limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}}]));
        let asks = Asks::of(pod.spec.as_ref().unwrap().containers[0].resources.as_ref());
        let limits = asks.limits();
        assert_eq!(limits.cpu_shares, Some(256));
        assert_eq!((limits.cpu_quota_us, limits.cpu_period_us), (Some(50_000), Some(100_000)));
        assert_eq!(limits.memory_bytes, Some(64 << 20));
        assert_eq!(pod_limits(&pod), limits);
        assert_eq!(oom_score_adj(QosClass::Burstable, &asks, 640 << 20), 900);
    }

    #[test]
    fn one_container_without_a_limit_leaves_the_pod_without() {
        let pod = pod(json!([{"name": "a", "resources": {"limits": {"memory": "64Mi"}}}, {"name": "b"}]));
        assert_eq!(pod_limits(&pod).memory_bytes, None);
    }
}
