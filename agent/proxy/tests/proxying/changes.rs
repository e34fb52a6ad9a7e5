//! What becomes of clients and connections while Services change, and while the agent is away.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use agent_proxy::Proxy;
use control_api::view::core::{ClientIPConfig, Service, SessionAffinityConfig};

use crate::{
    objects::{WEB, draining, port, ready, service, slice, unready, web, with},
    site::{Site, ask_udp, connect, eventually},
};

const TABLE: &str = "bramble-0123abcd-services";

fn sticky(seconds: i32) -> Service {
    with(web(), |spec| {
        spec.session_affinity = Some("ClientIP".into());
        let client_ip = Some(ClientIPConfig { timeout_seconds: Some(seconds) });
        spec.session_affinity_config = Some(SessionAffinityConfig { client_ip });
    })
}

#[tokio::test]
async fn a_client_stays_with_its_endpoint_through_changes_and_restarts_until_it_is_gone() {
    let site = Site::new(6);
    let proxy = site.proxy();
    proxy.put_service(&sticky(1000));
    proxy.put_slice(&slice("web", (0..4).map(ready).collect()));
    proxy.settled().await;
    let clients: Vec<_> = site.pods.iter().collect();
    let ask = |port| -> Vec<String> { clients.iter().map(|pod| pod.ask_many(WEB, port).join(",")).collect() };
    let first = ask(80);
    assert!(first.iter().all(|names| !names.contains(',')), "{first:?}");

    // Others come and go: the last one takes the place of the first.
    proxy.put_slice(&slice("web", [1, 2, 3].map(ready).to_vec()));
    proxy.settled().await;
    let second = ask(80);
    for (before, after) in first.iter().zip(&second) {
        assert!(before == "pod0" && after != "pod0" || before == after, "{first:?} {second:?}");
        assert!(!after.contains(','));
    }
    proxy.put_slice(&slice("web", [5, 1, 4, 2, 3].map(ready).to_vec()));
    proxy.settled().await;
    assert_eq!(ask(80), second);

    drop(proxy);
    let proxy = Proxy::start(site.config()).unwrap();
    proxy.put_service(&sticky(1000));
    proxy.put_slice(&slice("web", [1, 2, 3, 4, 5].map(ready).to_vec()));
    proxy.release();
    proxy.settled().await;
    assert_eq!(ask(80), second);
    assert!(site.node.nft(&["list", "ruleset"]).contains("update @affinity"), "nft can list it");

    proxy.put_service(&sticky(1));
    proxy.settled().await;
    ask(80);
    eventually("clients are forgotten", || {
        !site.node.nft(&["list", "set", "ip", TABLE, "affinity"]).contains("timeout 1s")
    });
}

#[tokio::test]
async fn a_connection_outlives_its_endpoints_removal_and_a_restart_of_the_agent() {
    let site = Site::new(3);
    let proxy = site.proxy();
    proxy.put_service(&web());
    proxy.put_slice(&slice("web", vec![ready(0)]));
    proxy.settled().await;
    let mut old = site.pods[2].inside(|| connect(WEB, 80).unwrap());
    assert!(old.ask().unwrap().starts_with("pod0"));
    proxy.put_slice(&slice("web", vec![draining(0), ready(1)]));
    proxy.settled().await;
    assert!(old.ask().unwrap().starts_with("pod0"));
    assert_eq!(site.pods[2].ask_many(WEB, 80), ["pod1"]);
    proxy.put_slice(&slice("web", vec![]));
    proxy.settled().await;
    assert!(old.ask().unwrap().starts_with("pod0"), "it ends when the pod does");
    drop(proxy);
    let _proxy = site.proxy();
    assert!(old.ask().unwrap().starts_with("pod0"));
}

#[tokio::test]
async fn a_udp_flow_leaves_an_endpoint_that_is_gone_and_finds_one_that_has_come() {
    let site = Site::new(4);
    let proxy = site.proxy();
    let client = site.pods[3].inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    client.connect((WEB, 53)).unwrap();
    // Before there is any table the flow goes nowhere, and the kernel remembers that.
    drop(proxy);
    Proxy::teardown(&site.config()).unwrap();
    assert!(ask_udp(&client).is_err());
    let proxy = site.proxy();
    proxy.put_service(&web());
    proxy.put_slice(&slice("web", vec![unready(0)]));
    proxy.settled().await;
    assert!(ask_udp(&client).is_err());
    proxy.put_slice(&slice("web", vec![ready(0)]));
    proxy.settled().await;
    assert!(ask_udp(&client).unwrap().starts_with("pod0"));
    proxy.put_slice(&slice("web", vec![ready(0), ready(1)]));
    proxy.settled().await;
    assert!(ask_udp(&client).unwrap().starts_with("pod0"), "a new endpoint moves nobody");
    proxy.put_slice(&slice("web", vec![ready(1)]));
    proxy.settled().await;
    assert!(ask_udp(&client).unwrap().starts_with("pod1"));
    // Also where the change happens while no agent is there.
    drop(proxy);
    let proxy = Proxy::start(site.config()).unwrap();
    proxy.put_service(&web());
    proxy.put_slice(&slice("web", vec![ready(2)]));
    proxy.release();
    proxy.settled().await;
    assert!(ask_udp(&client).unwrap().starts_with("pod2"));
}

/// How often a connection's first packet had to be sent again in the calling thread's namespace.
fn repeated() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split(' ').position(|name| name == "TCPSynRetrans").unwrap();
    numbers.split(' ').nth(at).unwrap().parse().unwrap()
}

/// Connects again and again until told to stop; counts what succeeds, and answers with the first failure.
fn load(
    site: &Site,
    pod: usize,
    stop: &Arc<AtomicBool>,
    count: &Arc<AtomicU32>,
) -> std::thread::JoinHandle<Option<String>> {
    let (path, stop, count) = (site.pods[pod].path(), stop.clone(), count.clone());
    std::thread::spawn(move || {
        nix::sched::setns(std::fs::File::open(path).unwrap(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        while !stop.load(Ordering::Relaxed) {
            match connect(WEB, 80).and_then(|mut asker| asker.ask()) {
                Ok(_) if repeated() > 0 => return Some("a packet was lost".into()),
                Ok(_) => count.fetch_add(1, Ordering::Relaxed),
                Err(error) => return Some(error.to_string()),
            };
        }
        None
    })
}

#[tokio::test]
async fn two_hundred_changes_of_endpoints_under_load_fail_no_connection() {
    let site = Site::new(8);
    let proxy = site.proxy();
    proxy.put_service(&web());
    proxy.put_slice(&slice("web", vec![ready(0)]));
    proxy.settled().await;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let clients: Vec<_> = [6, 7].map(|pod| load(&site, pod, &stop, &count)).into_iter().collect();
    let mut random: u32 = 2026;
    for _ in 0..200 {
        let before = count.load(Ordering::Relaxed);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // At least one of six, all of which answer.
        let chosen = (0..6).filter(|pod| *pod == (random >> 24) as u8 % 6 || random >> (8 + pod) & 1 == 1);
        proxy.put_slice(&slice("web", chosen.map(ready).collect()));
        proxy.settled().await;
        eventually("clients go on", || {
            count.load(Ordering::Relaxed) > before || clients.iter().any(|c| c.is_finished())
        });
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.join().unwrap(), None);
    }
}

#[tokio::test]
async fn a_restarted_agent_takes_over_without_a_moment_without_service() {
    let site = Site::new(3);
    let told = |proxy: &Proxy, pod: u8| {
        proxy.put_service(&web());
        proxy.put_slice(&slice("web", vec![ready(pod)]));
        for n in 0..200u8 {
            proxy.put_service(&service(
                &format!("other{n}"),
                Ipv4Addr::new(10, 43, 1, n),
                vec![port("http", "TCP", 80)],
            ));
        }
    };
    let mut proxy = site.proxy();
    told(&proxy, 0);
    proxy.settled().await;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let client = load(&site, 2, &stop, &count);
    for round in 0..20 {
        drop(proxy);
        proxy = Proxy::start(site.config()).unwrap();
        let before = count.load(Ordering::Relaxed);
        eventually("the old table serves", || count.load(Ordering::Relaxed) > before + 3 || client.is_finished());
        told(&proxy, round % 2);
        proxy.release();
        proxy.settled().await;
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(client.join().unwrap(), None);
    Proxy::teardown(&site.config()).unwrap();
    Proxy::teardown(&site.config()).unwrap();
    assert_eq!(site.node.nft(&["list", "ruleset"]), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_somebody_flushes_comes_back() {
    let site = Site::new(2);
    let proxy = site.proxy();
    proxy.put_service(&web());
    proxy.put_slice(&slice("web", vec![ready(0)]));
    proxy.settled().await;
    for damage in [
        vec!["flush", "ruleset"],
        vec!["flush", "chain", "ip", TABLE, "services"],
        vec!["delete", "element", "ip", TABLE, "services", "{ 10.43.0.80 . tcp . 80 }"],
    ] {
        site.node.nft(&damage);
        eventually("the Service answers again", || site.pods[1].ask(WEB, 80).is_ok());
    }
    // Others' tables are no concern of ours, and what is ours is still changed by its elements.
    site.node.nft(&["add", "table", "ip", "other"]);
    proxy.put_slice(&slice("web", vec![ready(1)]));
    proxy.settled().await;
    assert_eq!(site.pods[0].ask_many(WEB, 80), ["pod1"]);
    assert!(site.node.nft(&["list", "tables"]).contains("table ip other"));
}

#[tokio::test]
async fn of_two_services_that_want_one_address_the_first_has_it_until_it_goes() {
    let site = Site::new(3);
    let proxy = site.proxy();
    proxy.put_service(&web());
    proxy.put_slice(&slice("web", vec![ready(0)]));
    proxy.settled().await;
    let other = service("other", Ipv4Addr::new(10, 43, 0, 81), vec![port("http", "TCP", 80)]);
    proxy.put_service(&with(other, |spec| spec.external_ips = Some(vec![WEB.to_string()])));
    proxy.put_slice(&slice("other", vec![ready(1)]));
    proxy.settled().await;
    assert_eq!(site.pods[2].ask_many(WEB, 80), ["pod0"]);
    proxy.remove_service("default", "web");
    proxy.settled().await;
    assert_eq!(site.pods[2].ask_many(WEB, 80), ["pod1"]);
    assert_eq!(site.pods[2].ask_many(Ipv4Addr::new(10, 43, 0, 81), 80), ["pod1"]);
}

#[tokio::test]
async fn a_service_with_more_endpoints_than_pods_could_be_chooses_among_all() {
    let site = Site::new(2);
    let proxy = site.proxy();
    proxy.put_service(&web());
    // All but one are nobody's: the kernel's map has them all.
    let endpoints = (0..200).map(ready).collect();
    proxy.put_slice(&slice("web", endpoints));
    proxy.settled().await;
    let listed = site.node.nft(&["list", "map", "ip", TABLE, "endpoints"]);
    assert_eq!(listed.matches(" . 80 . 0x").count(), 200);
    assert!(site.node.nft(&["list", "table", "ip", TABLE]).contains("chain n200 {"));
    proxy.put_slice(&slice("web", vec![ready(1)]));
    proxy.settled().await;
    assert_eq!(site.pods[0].ask_many(WEB, 80), ["pod1"]);
}
