//! Which pod answers: `[SCHEME:]NAME[:PORT]`, of a pod or of a Service.

use control_api::resource::{ENDPOINT_SLICES, PODS};
use control_api::stream::ForwardRequest;
use control_api::{Reason, Status};
use control_store::{Key, Page};
use serde_json::Value;

use crate::api::Api;
use crate::negotiate::parse;
use crate::route::ResourcePath;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A port of a pod, and where it runs.
#[derive(Debug)]
pub struct Target {
    pub node: String,
    pub request: ForwardRequest,
}

pub fn find(api: &Api, at: &ResourcePath) -> Result<Target, Status> {
    let parts: Vec<&str> = at.name.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return Err(Status::bad_request(format!("invalid {} request {:?}", at.resource.singular, at.name))),
    };
    if !matches!(scheme, "" | "http") {
        return Err(Status::bad_request(format!("scheme {scheme:?} is not served through the proxy, only http is")));
    }
    if at.resource == &PODS { pod(api, at, name, port) } else { service(api, at, name, port) }
}

fn get(api: &Api, at: &ResourcePath, name: &str) -> Result<Value, Status> {
    let object = api.store().get(&Key::new(at.resource, &at.namespace, name));
    parse(&*object.ok_or_else(|| Status::not_found(at.resource, name))?)
}

fn pod(api: &Api, at: &ResourcePath, name: &str, port: &str) -> Result<Target, Status> {
    let pod = get(api, at, name)?;
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let mut tcp = ports.filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"));
    let port = match port {
        "" => tcp.next().and_then(|port| port["containerPort"].as_u64()).unwrap_or(80),
        port => port.parse().map_err(|_| Status::bad_request(format!("invalid port {port:?}")))?,
    };
    to(&pod, at, port)
}

fn to(pod: &Value, at: &ResourcePath, port: u64) -> Result<Target, Status> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let (node, address) = (pod["spec"]["nodeName"].as_str(), pod["status"]["podIP"].as_str());
    let (Some(node), Some(address)) = (node, address) else {
        return Err(Status::new(Reason::ServiceUnavailable, format!("pod {name} does not have an address")));
    };
    let port = u16::try_from(port).map_err(|_| Status::bad_request(format!("invalid port {port}")))?;
    Ok(Target {
        node: node.to_owned(),
        request: ForwardRequest {
            namespace: at.namespace.clone(),
            pod: name.to_owned(),
            pod_uid: pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
            port,
            address: address.to_owned(),
        },
    })
}

/// Any ready endpoint's pod.
fn service(api: &Api, at: &ResourcePath, name: &str, port: &str) -> Result<Target, Status> {
    let service = get(api, at, name)?;
    let none = || Status::new(Reason::ServiceUnavailable, format!("no endpoints available for service {name:?}"));
    // A number stands for the port that has it.
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let port = match port.parse::<u64>() {
        Ok(number) => {
            let found = ports.find(|port| port["port"] == number);
            let missing = || {
                Status::new(Reason::ServiceUnavailable, format!("no service port {port} found for service {name:?}"))
            };
            found.ok_or_else(missing)?["name"].as_str().unwrap_or_default().to_owned()
        }
        Err(_) => port.to_owned(),
    };
    let slices = api.store().list(&ENDPOINT_SLICES, Some(&at.namespace), &Page::default()).items;
    let mut found: Vec<(String, u64)> = Vec::new();
    for slice in slices.iter().filter_map(|slice| parse(slice).ok()) {
        if slice["metadata"]["labels"][SERVICE_NAME] != name {
            continue;
        }
        let mut ports = slice["ports"].as_array().into_iter().flatten();
        let number = ports.find(|own| own["name"].as_str().unwrap_or_default() == port);
        let Some(number) = number.and_then(|own| own["port"].as_u64()) else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let pod = endpoint["targetRef"]["name"].as_str().filter(|_| endpoint["targetRef"]["kind"] == "Pod");
            if let Some(pod) = pod.filter(|_| endpoint["conditions"]["ready"] != false) {
                found.push((pod.to_owned(), number));
            }
        }
    }
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|_| none())?;
    let (pod, number) = found.get(u32::from_ne_bytes(random) as usize % found.len().max(1)).ok_or_else(none)?;
    let pod = api.store().get(&Key::new(&PODS, &at.namespace, pod)).ok_or_else(none)?;
    to(&parse(&pod)?, at, *number)
}
