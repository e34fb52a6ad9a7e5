//! NodePorts, load balancers' and external addresses, and the policies Local.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use control_api::view::core::{LoadBalancerIngress, LoadBalancerStatus, Service, ServiceStatus};

use crate::{
    objects::{WEB, draining, elsewhere, ready, slice, web, with},
    site::{GATEWAY, LAN, NODE, Site, WAIT, pod_address},
};

const BALANCER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const NODE_PORT: u16 = 30_080;

/// `web` with a NodePort, a balancer's address and an external one.
fn balanced(policy: &str) -> Service {
    let mut service = with(web(), |spec| {
        spec.type_ = Some("LoadBalancer".into());
        spec.external_traffic_policy = Some(policy.into());
        spec.external_ips = Some(vec![EXTERNAL.to_string()]);
        for (port, node_port) in spec.ports.as_mut().unwrap().iter_mut().zip([30_080, 30_053]) {
            port.node_port = Some(node_port);
        }
    });
    let ingress = LoadBalancerIngress { ip: Some(BALANCER.to_string()), ..LoadBalancerIngress::default() };
    service.status = Some(ServiceStatus { load_balancer: Some(LoadBalancerStatus { ingress: Some(vec![ingress]) }) });
    service
}

/// As an announcer would: the LAN sends packets for the address to the node.
fn route_balancer(site: &Site) {
    site.lan.ip(&["route", "add", &format!("{BALANCER}/32"), "via", &NODE.to_string()]);
}

#[tokio::test]
async fn a_node_port_a_balancer_and_an_external_address_lead_to_all_endpoints_by_masquerade() {
    let site = Site::new(3);
    route_balancer(&site);
    let proxy = site.proxy();
    proxy.put_service(&balanced("Cluster"));
    proxy.put_slice(&slice("web", vec![ready(0), elsewhere(1)]));
    proxy.settled().await;
    for (address, port) in [(NODE, NODE_PORT), (BALANCER, 80), (EXTERNAL, 80)] {
        assert_eq!(site.lan.ask_many(address, port), ["pod0", "pod1"]);
        assert!(site.lan.ask(address, port).unwrap().ends_with(&GATEWAY.to_string()));
        assert!(site.node.ask(address, port).unwrap().ends_with(&GATEWAY.to_string()));
        assert!(site.pods[2].ask(address, port).unwrap().starts_with("pod"));
    }
    assert!(site.lan.ask_by_udp(NODE, 30_053).unwrap().starts_with("pod"));
    assert!(site.lan.ask_by_udp(BALANCER, 53).unwrap().starts_with("pod"));
    assert!(site.pods[0].ask(GATEWAY, NODE_PORT).unwrap().starts_with("pod"), "every address of the node");
    assert!(site.node.ask(Ipv4Addr::LOCALHOST, NODE_PORT).is_err(), "but not its loopback");
    assert!(site.lan.ask(LAN, NODE_PORT).is_err(), "and no other machine's");
    assert_eq!(site.pods[0].ask_many(NODE, NODE_PORT), ["pod0", "pod1"]);
    proxy.put_service(&web());
    proxy.settled().await;
    assert!(site.lan.ask(NODE, NODE_PORT).is_err());
    assert!(site.lan.ask(WEB, 80).is_ok());
}

#[tokio::test]
async fn the_external_policy_local_keeps_the_source_and_serves_from_this_node_alone() {
    let site = Site::new(3);
    route_balancer(&site);
    let proxy = site.proxy();
    proxy.put_service(&balanced("Local"));
    proxy.put_slice(&slice("web", vec![ready(0), elsewhere(1)]));
    proxy.settled().await;
    for (address, port) in [(NODE, NODE_PORT), (BALANCER, 80), (EXTERNAL, 80)] {
        assert_eq!(site.lan.ask_many(address, port), ["pod0"]);
        assert_eq!(site.lan.ask(address, port).unwrap(), format!("pod0 {LAN}"));
        assert_eq!(site.pods[2].ask_many(address, port), ["pod0", "pod1"], "pods reach the whole cluster");
        assert_eq!(site.node.ask_many(address, port), ["pod0", "pod1"], "and so does the node");
        assert!(site.pods[2].ask(address, port).unwrap().ends_with(&pod_address(2).to_string()));
    }
    proxy.put_slice(&slice("web", vec![draining(0), elsewhere(1)]));
    proxy.settled().await;
    assert_eq!(site.lan.ask_many(NODE, NODE_PORT), ["pod0"], "one that drains, while no other here is ready");
    proxy.put_slice(&slice("web", vec![elsewhere(1)]));
    proxy.settled().await;
    let error = site.lan.ask(BALANCER, 80).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "dropped, since another node has it");
    assert_eq!(site.pods[2].ask_many(BALANCER, 80), ["pod1"]);
    assert_eq!(site.lan.ask_many(WEB, 80), ["pod1"]);
}

#[tokio::test]
async fn the_internal_policy_local_serves_from_this_node_alone() {
    let site = Site::new(3);
    let proxy = site.proxy();
    proxy.put_service(&with(web(), |spec| spec.internal_traffic_policy = Some("Local".into())));
    proxy.put_slice(&slice("web", vec![ready(0), elsewhere(1)]));
    proxy.settled().await;
    assert_eq!(site.pods[2].ask_many(WEB, 80), ["pod0"]);
    proxy.put_slice(&slice("web", vec![elsewhere(1)]));
    proxy.settled().await;
    assert_eq!(site.pods[2].ask(WEB, 80).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_balancers_source_ranges_keep_others_out_of_its_address_only() {
    let site = Site::new(2);
    route_balancer(&site);
    let proxy = site.proxy();
    let sources = |ranges: &[&str]| {
        let ranges: Vec<String> = ranges.iter().map(|range| (*range).to_owned()).collect();
        with(balanced("Cluster"), |spec| spec.load_balancer_source_ranges = Some(ranges))
    };
    proxy.put_slice(&slice("web", vec![ready(0)]));
    proxy.put_service(&sources(&["203.0.113.0/24", "10.0.0.0/8", "10.42.0.0/16"]));
    proxy.settled().await;
    assert!(site.lan.ask(BALANCER, 80).is_err());
    assert!(site.pods[1].ask(BALANCER, 80).is_ok());
    assert!(site.lan.ask(NODE, NODE_PORT).is_ok());
    proxy.put_service(&sources(&["203.0.113.0/24", "192.0.2.2/32"]));
    proxy.settled().await;
    assert!(site.lan.ask(BALANCER, 80).is_ok());
    assert!(site.pods[1].ask(BALANCER, 80).is_err());
    proxy.put_service(&balanced("Cluster"));
    proxy.settled().await;
    assert!(site.pods[1].ask(BALANCER, 80).is_ok());
    assert!(!site.node.nft(&["list", "set", "ip", "bramble-0123abcd-services", "sources"]).contains("elements"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_check_tells_a_balancer_whether_the_node_has_endpoints() {
    let site = Site::new(2);
    let proxy = site.proxy();
    let service = with(balanced("Local"), |spec| spec.health_check_node_port = Some(32_000));
    proxy.put_service(&service);
    proxy.put_slice(&slice("web", vec![ready(0), elsewhere(1)]));
    proxy.settled().await;
    let check = || {
        site.lan.inside(|| {
            let mut stream = TcpStream::connect((NODE, 32_000))?;
            stream.set_read_timeout(Some(WAIT))?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        })
    };
    let check = || tokio::task::block_in_place(check);
    let answer = check().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"), "{answer}");
    assert!(answer.ends_with(
        "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 1,\n\t\"serviceProxyHealthy\": true\n}"
    ));
    proxy.put_slice(&slice("web", vec![draining(0), elsewhere(1)]));
    proxy.settled().await;
    assert!(check().unwrap().starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    proxy.remove_service("default", "web");
    proxy.settled().await;
    crate::site::eventually("nobody listens any more", || check().is_err());
}
