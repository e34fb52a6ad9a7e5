//! Services and EndpointSlices as the API has them.

use std::net::Ipv4Addr;

use control_api::view::{
    IntOrString,
    core::{Service, ServicePort, ServiceSpec},
    discovery::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    meta::ObjectMeta,
};

use crate::site::pod_address;

pub const WEB: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 80);

pub fn port(name: &str, protocol: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        protocol: Some(protocol.into()),
        port,
        target_port: Some(IntOrString::Int(8080)),
        ..ServicePort::default()
    }
}

/// The Service `web`: ports 80/TCP and 53/UDP, at [`WEB`].
pub fn web() -> Service {
    service("web", WEB, vec![port("http", "TCP", 80), port("dns", "UDP", 53)])
}

pub fn service(name: &str, address: Ipv4Addr, ports: Vec<ServicePort>) -> Service {
    Service {
        metadata: metadata(name),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: Some(address.to_string()),
            cluster_ips: Some(vec![address.to_string()]),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The Service with its spec changed.
pub fn with(mut service: Service, change: impl FnOnce(&mut ServiceSpec)) -> Service {
    change(service.spec.as_mut().unwrap());
    service
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), namespace: Some("default".into()), ..ObjectMeta::default() }
}

pub fn ready(pod: u8) -> Endpoint {
    Endpoint {
        addresses: vec![pod_address(pod).to_string()],
        conditions: Some(EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) }),
        node_name: Some("here".into()),
        ..Endpoint::default()
    }
}

pub fn elsewhere(pod: u8) -> Endpoint {
    Endpoint { node_name: Some("there".into()), ..ready(pod) }
}

pub fn draining(pod: u8) -> Endpoint {
    let conditions = EndpointConditions { ready: Some(false), serving: Some(true), terminating: Some(true) };
    Endpoint { conditions: Some(conditions), ..ready(pod) }
}

pub fn unready(pod: u8) -> Endpoint {
    let conditions = EndpointConditions { ready: Some(false), serving: Some(false), terminating: Some(false) };
    Endpoint { conditions: Some(conditions), ..ready(pod) }
}

/// A slice of the Service with the ports that the Services of this file have.
pub fn slice(service: &str, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let port = |name: &str, protocol: &str| EndpointPort {
        name: Some(name.into()),
        protocol: Some(protocol.into()),
        port: Some(8080),
        ..EndpointPort::default()
    };
    let mut metadata = metadata(&format!("{service}-x"));
    metadata.labels = Some([("kubernetes.io/service-name".to_owned(), service.to_owned())].into());
    EndpointSlice {
        address_type: "IPv4".into(),
        endpoints,
        metadata,
        ports: Some(vec![port("http", "TCP"), port("dns", "UDP")]),
    }
}
