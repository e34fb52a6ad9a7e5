//! What a pod says of itself in files: its metadata, addresses and resources.

use std::collections::BTreeMap;
use std::fmt::Write;

use control_api::quantity::Quantity;
use control_api::view::core::{Container, DownwardAPIVolumeFile, Pod, ResourceFieldSelector};

/// What only the node knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub node_name: String,
    pub host_ips: Vec<String>,
    pub pod_ips: Vec<String>,
    /// The node's allocatable, which stands for limits that are not set.
    pub cpu_milli: i64,
    pub memory_bytes: i64,
}

/// The content of one file.
pub fn content(pod: &Pod, facts: &Facts, item: &DownwardAPIVolumeFile) -> Result<String, String> {
    match (&item.field_ref, &item.resource_field_ref) {
        (Some(field), _) => self::field(pod, facts, &field.field_path),
        (None, Some(resource)) => self::resource(pod, facts, resource),
        (None, None) => Err(format!("{:?} has neither fieldRef nor resourceFieldRef", item.path)),
    }
}

fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    for (prefix, map) in [("metadata.labels", &meta.labels), ("metadata.annotations", &meta.annotations)] {
        let Some(rest) = path.strip_prefix(prefix) else { continue };
        let map = map.as_ref();
        if rest.is_empty() {
            return Ok(map.map(lines).unwrap_or_default());
        }
        if let Some(key) = rest.strip_prefix("['").and_then(|rest| rest.strip_suffix("']")) {
            return Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default());
        }
    }
    match path {
        "metadata.name" => Ok(text(&meta.name)),
        "metadata.namespace" => Ok(text(&meta.namespace)),
        "metadata.uid" => Ok(text(&meta.uid)),
        "spec.nodeName" => Ok(facts.node_name.clone()),
        "spec.serviceAccountName" => Ok(spec.map(|spec| text(&spec.service_account_name)).unwrap_or_default()),
        "status.hostIP" => Ok(facts.host_ips.first().cloned().unwrap_or_default()),
        "status.hostIPs" => Ok(facts.host_ips.join(",")),
        "status.podIP" => Ok(facts.pod_ips.first().cloned().unwrap_or_default()),
        "status.podIPs" => Ok(facts.pod_ips.join(",")),
        _ => Err(format!("unsupported fieldPath: {path}")),
    }
}

fn lines(map: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (index, (key, value)) in map.iter().enumerate() {
        let separator = if index == 0 { "" } else { "\n" };
        write!(text, "{separator}{key}={value:?}").expect("a String takes everything");
    }
    text
}

fn resource(pod: &Pod, facts: &Facts, wanted: &ResourceFieldSelector) -> Result<String, String> {
    let container = container(pod, wanted.container_name.as_deref())?;
    let resources = container.resources.as_ref();
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let (of, name) =
        wanted.resource.split_once('.').ok_or_else(|| format!("unsupported resource: {}", wanted.resource))?;
    let unset_milli = match (of, name) {
        ("limits", "cpu") => i128::from(facts.cpu_milli),
        ("limits", "memory") => i128::from(facts.memory_bytes) * 1000,
        ("limits" | "requests", "cpu" | "memory" | "ephemeral-storage") => 0,
        _ => return Err(format!("unsupported resource: {}", wanted.resource)),
    };
    let map = if of == "limits" { limits } else { requests };
    let milli = match map.and_then(|map| map.get(name)) {
        Some(quantity) => self::milli(&quantity.0)?,
        None => unset_milli,
    };
    let divisor = wanted.divisor.as_ref().map_or(Ok(0), |quantity| self::milli(&quantity.0))?;
    let divisor = if divisor == 0 { 1000 } else { divisor };
    // As the kubelet does it: rounded up.
    Ok(((milli + divisor - 1) / divisor).to_string())
}

fn container<'a>(pod: &'a Pod, name: Option<&str>) -> Result<&'a Container, String> {
    let spec = pod.spec.as_ref().ok_or("the pod has no spec")?;
    let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    all.find(|container| name.is_some_and(|name| container.name == name))
        .ok_or_else(|| format!("container {} not found", name.unwrap_or_default()))
}

fn milli(text: &str) -> Result<i128, String> {
    Quantity::parse(text).map(|quantity| quantity.milli()).map_err(|error| error.to_string())
}
