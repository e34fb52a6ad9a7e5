//! Services as the endpoint controllers see them: which pods one selects, and which Services a pod's change concerns.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use control_api::resource::PODS;
use control_api::view::IntOrString;
use control_api::view::core::{Container, ObjectReference, Pod, Service, ServicePort};
use control_client::{Key, Object};

use crate::controller::Change;
use crate::error::Error;
use crate::pod;
use crate::world::{World, view};

/// On slices and Endpoints of headless Services.
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// The selector of a Service that has pods behind it; none for those whose endpoints somebody else writes.
pub(crate) fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty());
    if spec.type_.as_deref() == Some("ExternalName") { None } else { selector }
}

/// Without an address of its own.
pub(crate) fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    address.is_empty() || address == "None"
}

pub(crate) fn ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default()
}

pub(crate) fn publishes_all(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// The pods that `selector` matches, those that ended or have no address left out, in the order of their names.
pub(crate) fn pods(
    world: &World,
    namespace: &str,
    selector: &BTreeMap<String, String>,
) -> Result<Vec<(Arc<Object>, Pod)>, Error> {
    let matches = |object: &Object| selector.iter().all(|(name, value)| object.meta.labels.get(name) == Some(value));
    let mut found = Vec::new();
    for object in world.list(&PODS, Some(namespace)) {
        if matches(&object) {
            let pod: Pod = view(&object)?;
            if !pod::is_finished(&pod) && !addresses(&pod).is_empty() {
                found.push((object, pod));
            }
        }
    }
    Ok(found)
}

/// The pod's IPv4 addresses.
pub(crate) fn addresses(pod: &Pod) -> Vec<String> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut found: Vec<String> = all.filter_map(|ip| ip.parse::<Ipv4Addr>().ok()).map(|ip| ip.to_string()).collect();
    if found.is_empty() {
        let only = status.pod_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()).filter(IpAddr::is_ipv4);
        found.extend(only.map(|ip| ip.to_string()));
    }
    found
}

/// The number behind a Service's port in one pod: names are looked up among its containers' ports.
pub(crate) fn port_number(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
    let mut ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let protocol = protocol(port.protocol.as_deref());
    let same = ports
        .find(|found| found.name.as_ref() == Some(name) && self::protocol(found.protocol.as_deref()) == protocol)?;
    Some(same.container_port)
}

pub(crate) fn protocol(given: Option<&str>) -> &str {
    given.unwrap_or("TCP")
}

/// The name that the pod has below its Service's, as `spec.hostname` and `spec.subdomain` ask for.
pub(crate) fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.as_ref().filter(|name| !name.is_empty())?;
    (spec.subdomain.is_some() && spec.subdomain == service.metadata.name).then(|| hostname.clone())
}

/// The pod as endpoints name it.
pub(crate) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The Services that a pod's change concerns: those that select it now or did before, where anything changed that
/// endpoints show. A report of a container's restart is no such thing.
pub(crate) fn concerned(world: &World, change: &Change<'_>) -> Vec<Key> {
    let object = change.object;
    let mut keys = world.index().services_selecting(&object.key.namespace, &object.meta.labels);
    let Some(previous) = change.previous else { return keys };
    if previous.meta.labels != object.meta.labels {
        for key in world.index().services_selecting(&object.key.namespace, &previous.meta.labels) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        return keys;
    }
    if !keys.is_empty() && !change.deleted && shown(previous) == shown(object) {
        keys.clear();
    }
    keys
}

/// What endpoints show of a pod.
#[derive(PartialEq)]
struct Shown {
    addresses: Vec<String>,
    ready: bool,
    finished: bool,
    ending: bool,
    node: Option<String>,
}

fn shown(object: &Object) -> Option<Shown> {
    let pod: Pod = view(object).ok()?;
    Some(Shown {
        addresses: addresses(&pod),
        ready: pod::is_ready(&pod),
        finished: pod::is_finished(&pod),
        ending: pod.metadata.deletion_timestamp.is_some(),
        node: pod::node_name(&pod).map(str::to_owned),
    })
}
