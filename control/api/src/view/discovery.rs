//! `discovery.k8s.io/v1`.

use std::collections::BTreeMap;

use super::core::ObjectReference;
use super::meta::ObjectMeta;

view! {
    EndpointSlice {
        address_type: String = "addressType",
        endpoints: Vec<Endpoint> = "endpoints",
        metadata: ObjectMeta = "metadata",
        ports: Option<Vec<EndpointPort>> = "ports",
    }
}

record! {
    Endpoint {
        addresses: Vec<String> = "addresses",
        conditions: Option<EndpointConditions> = "conditions",
        deprecated_topology: Option<BTreeMap<String, String>> = "deprecatedTopology",
        hints: Option<EndpointHints> = "hints",
        hostname: Option<String> = "hostname",
        node_name: Option<String> = "nodeName",
        target_ref: Option<ObjectReference> = "targetRef",
        zone: Option<String> = "zone",
    }
    EndpointConditions {
        ready: Option<bool> = "ready",
        serving: Option<bool> = "serving",
        terminating: Option<bool> = "terminating",
    }
    EndpointHints {
        for_nodes: Option<Vec<ForNode>> = "forNodes",
        for_zones: Option<Vec<ForZone>> = "forZones",
    }
    EndpointPort {
        app_protocol: Option<String> = "appProtocol",
        name: Option<String> = "name",
        port: Option<i32> = "port",
        protocol: Option<String> = "protocol",
    }
    ForNode {
        name: String = "name",
    }
    ForZone {
        name: String = "name",
    }
}
