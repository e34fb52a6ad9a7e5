//! ClusterIPs: who is reached, and what happens where nobody is.

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use crate::{
    objects::{WEB, draining, elsewhere, port, ready, service, slice, unready, web, with},
    site::{GATEWAY, Site, pod_address},
};

#[tokio::test]
async fn a_cluster_address_leads_to_every_ready_endpoint_and_keeps_the_pods_source() {
    let site = Site::new(4);
    let proxy = site.proxy();
    proxy.put_service(&web());
    proxy.put_slice(&slice("web", vec![ready(0), ready(1), ready(2), unready(3)]));
    proxy.settled().await;
    let client = &site.pods[3];
    assert_eq!(client.ask_many(WEB, 80), ["pod0", "pod1", "pod2"]);
    assert!(client.ask(WEB, 80).unwrap().ends_with(&pod_address(3).to_string()));
    assert!(client.ask_by_udp(WEB, 53).unwrap().ends_with(&pod_address(3).to_string()));
    assert!(site.node.ask(WEB, 80).unwrap().ends_with(&GATEWAY.to_string()), "the node is a client too");
    assert!(site.node.ask_by_udp(WEB, 53).unwrap().starts_with("pod"));
    assert!(site.lan.ask(WEB, 80).unwrap().ends_with(&GATEWAY.to_string()), "others come back through the node");
    // Those who are endpoints reach themselves.
    assert_eq!(site.pods[0].ask_many(WEB, 80), ["pod0", "pod1", "pod2"]);
}

#[tokio::test]
async fn what_nobody_answers_is_refused_at_once() {
    let site = Site::new(2);
    let proxy = site.proxy();
    proxy.put_service(&web());
    proxy.put_slice(&slice("web", vec![unready(1)]));
    proxy.settled().await;
    for client in [&site.pods[0], &site.node, &site.lan] {
        for (address, port) in [(WEB, 80), (WEB, 81), (Ipv4Addr::new(10, 43, 9, 9), 80)] {
            assert_eq!(client.ask(address, port).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        for (address, port) in [(WEB, 53), (WEB, 80), (Ipv4Addr::new(10, 43, 9, 9), 53)] {
            // A program on the node itself is told as it sends.
            let refused = [ErrorKind::ConnectionRefused, ErrorKind::PermissionDenied];
            assert!(refused.contains(&client.ask_by_udp(address, port).unwrap_err().kind()));
        }
    }
    proxy.put_slice(&slice("web", vec![ready(1)]));
    proxy.settled().await;
    assert_eq!(site.pods[0].ask_many(WEB, 80), ["pod1"]);
    proxy.remove_service("default", "web");
    proxy.settled().await;
    assert_eq!(site.pods[0].ask(WEB, 80).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn endpoints_that_drain_serve_only_while_no_other_is_ready() {
    let site = Site::new(3);
    let proxy = site.proxy();
    proxy.put_service(&web());
    proxy.put_slice(&slice("web", vec![ready(0), draining(1)]));
    proxy.settled().await;
    assert_eq!(site.pods[2].ask_many(WEB, 80), ["pod0"]);
    proxy.put_slice(&slice("web", vec![unready(0), draining(1)]));
    proxy.settled().await;
    assert_eq!(site.pods[2].ask_many(WEB, 80), ["pod1"]);
}

/// What `nft` makes of the table, without its sets. `UPDATE_GOLDEN=1` renews it.
const TABLE: &str = include_str!("table.txt");

#[tokio::test]
async fn the_table_reads_as_it_was_meant() {
    let site = Site::new(1);
    let proxy = site.proxy();
    proxy.put_service(&with(web(), |spec| {
        spec.type_ = Some("NodePort".into());
        spec.session_affinity = Some("ClientIP".into());
        spec.external_traffic_policy = Some("Local".into());
        spec.ports.as_mut().unwrap()[0].node_port = Some(30_080);
    }));
    proxy.put_slice(&slice("web", vec![ready(0), elsewhere(1)]));
    proxy.put_service(&service("plain", Ipv4Addr::new(10, 43, 0, 81), vec![port("http", "TCP", 80)]));
    proxy.put_slice(&slice("plain", vec![ready(0), ready(1)]));
    proxy.settled().await;
    let listed = site.node.nft(&["list", "table", "ip", "bramble-0123abcd-services"]);
    let chains = &listed[listed.find("\tchain").unwrap()..];
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/table.txt"), chains).unwrap();
    } else {
        assert_eq!(chains, TABLE);
    }
}
