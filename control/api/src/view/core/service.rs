//! Services and Endpoints.

use std::collections::BTreeMap;

use super::super::IntOrString;
use super::super::meta::ObjectMeta;
use super::object::ObjectReference;

view! {
    ClientIPConfig {
        timeout_seconds: Option<i32> = "timeoutSeconds",
    }
    Endpoints {
        metadata: ObjectMeta = "metadata",
        subsets: Option<Vec<EndpointSubset>> = "subsets",
    }
    Service {
        metadata: ObjectMeta = "metadata",
        spec: Option<ServiceSpec> = "spec",
        status: Option<ServiceStatus> = "status",
    }
    ServicePort {
        app_protocol: Option<String> = "appProtocol",
        name: Option<String> = "name",
        node_port: Option<i32> = "nodePort",
        port: i32 = "port",
        protocol: Option<String> = "protocol",
        target_port: Option<IntOrString> = "targetPort",
    }
    ServiceSpec {
        cluster_ip: Option<String> = "clusterIP",
        cluster_ips: Option<Vec<String>> = "clusterIPs",
        external_ips: Option<Vec<String>> = "externalIPs",
        external_name: Option<String> = "externalName",
        external_traffic_policy: Option<String> = "externalTrafficPolicy",
        health_check_node_port: Option<i32> = "healthCheckNodePort",
        internal_traffic_policy: Option<String> = "internalTrafficPolicy",
        load_balancer_class: Option<String> = "loadBalancerClass",
        load_balancer_source_ranges: Option<Vec<String>> = "loadBalancerSourceRanges",
        ports: Option<Vec<ServicePort>> = "ports",
        publish_not_ready_addresses: Option<bool> = "publishNotReadyAddresses",
        selector: Option<BTreeMap<String, String>> = "selector",
        session_affinity: Option<String> = "sessionAffinity",
        session_affinity_config: Option<SessionAffinityConfig> = "sessionAffinityConfig",
        type_: Option<String> = "type",
    }
    ServiceStatus {
        load_balancer: Option<LoadBalancerStatus> = "loadBalancer",
    }
    SessionAffinityConfig {
        client_ip: Option<ClientIPConfig> = "clientIP",
    }
}

record! {
    EndpointAddress {
        hostname: Option<String> = "hostname",
        ip: String = "ip",
        node_name: Option<String> = "nodeName",
        target_ref: Option<ObjectReference> = "targetRef",
    }
    EndpointPort {
        app_protocol: Option<String> = "appProtocol",
        name: Option<String> = "name",
        port: i32 = "port",
        protocol: Option<String> = "protocol",
    }
    EndpointSubset {
        addresses: Option<Vec<EndpointAddress>> = "addresses",
        not_ready_addresses: Option<Vec<EndpointAddress>> = "notReadyAddresses",
        ports: Option<Vec<EndpointPort>> = "ports",
    }
    LoadBalancerIngress {
        hostname: Option<String> = "hostname",
        ip: Option<String> = "ip",
        ip_mode: Option<String> = "ipMode",
        ports: Option<Vec<PortStatus>> = "ports",
    }
    LoadBalancerStatus {
        ingress: Option<Vec<LoadBalancerIngress>> = "ingress",
    }
    PortStatus {
        error: Option<String> = "error",
        port: i32 = "port",
        protocol: String = "protocol",
    }
}
