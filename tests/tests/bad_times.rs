//! What a homelab goes through: lost nodes, cut cables, new addresses, a server that is away, power cuts.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use nix::sys::signal::Signal;
use tests::lab::Lab;
use tests::program::eventually;

/// A web server on each node, gone from a lost node after two seconds.
const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
        - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
        - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers:
        - name: web
          image: bramble.local/demo:1
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
"#;

fn start() -> Lab {
    let lab = Lab::start(3);
    lab.apply(WEB).ok();
    lab.k("rollout status deployment/web --timeout=60s").ok();
    lab.k("expose deployment web --port=80 --target-port=8080").ok();
    lab
}

fn web(lab: &Lab) -> String {
    format!("http://{}/", lab.field("service web", "{.spec.clusterIP}"))
}

/// Whether ten requests from a machine are all answered.
fn serves(lab: &Lab, node: usize, url: &str) -> bool {
    lab.nodes[node].sh(&format!("for i in $(seq 10); do curl -sf -m 2 -o /dev/null {url} || exit 1; done")).code == 0
}

fn ready(lab: &Lab, node: &str) -> String {
    lab.field(&format!("node {node}"), "{.status.conditions[?(@.type==\"Ready\")].status}")
}

#[test]
fn while_the_server_is_away_services_names_and_pods_go_on_and_a_rebooted_node_starts_its_pods() {
    let mut lab = start();
    let url = web(&lab);
    eventually("the Service answers", 60, || serves(&lab, 0, &url));
    let pod = lab.field("pods -l app=web --field-selector spec.nodeName=n1", "{.items[0].metadata.name}");
    let address = lab.field(&format!("pod {pod}"), "{.status.podIP}");
    // What every node is told is on disk half a minute later at the latest; a node that is switched off before has
    // what it was told before.
    let cached = |lab: &Lab| {
        let data = lab.nodes[0].data().join("agent/cache/endpointslices/default");
        std::fs::read_dir(data).is_ok_and(|files| {
            files.flatten().any(|file| {
                std::fs::read_to_string(file.path())
                    .is_ok_and(|text| text.contains("\"web\"") && text.contains("\"ready\":true"))
            })
        })
    };
    eventually("the node keeps the endpoints", 60, || cached(&lab));
    lab.stop_server(Signal::SIGKILL);
    for node in 0..3 {
        eventually("each node serves without a server", 30, || serves(&lab, node, &url));
        let found = lab.nodes[node].sh("dig +short +time=2 +tries=1 @10.43.0.10 web.default.svc.cluster.local").out;
        assert_eq!(format!("http://{}/", found.trim()), url, "the name is answered without a server");
    }
    // Power comes back after a cut, and there is still no server.
    let lan = &lab.lan;
    lab.nodes[0].power_off();
    lab.nodes[0].power_on(lan);
    lab.nodes[0].start_agent(&[]);
    eventually("the rebooted node serves its pod again", 60, || {
        lab.nodes[0].sh(&format!("curl -sf -m 2 -o /dev/null http://{address}:8080/")).code == 0
    });
    eventually("and Services", 30, || serves(&lab, 0, &url));
    lab.start_server();
    lab.wait_server();
    lab.wait_ready(3);
    eventually("the Service answers everywhere", 30, || (0..3).all(|node| serves(&lab, node, &url)));
    assert_eq!(lab.field(&format!("pod {pod}"), "{.spec.nodeName}"), "n1", "it is the same pod");
}

#[test]
fn a_node_with_another_address_keeps_its_identity_and_its_pods_and_is_reached() {
    let mut lab = start();
    let url = web(&lab);
    eventually("the Service answers", 60, || serves(&lab, 0, &url));
    let before = lab.field("pods -l app=web", "{.items[*].metadata.uid}");
    let connections = lab.log().matches("node connected node=n2").count();
    lab.nodes[1].move_to("192.168.78.112");
    eventually("the Node has the new address", 30, || {
        lab.field("node n2", "{.status.addresses[?(@.type==\"InternalIP\")].address}") == "192.168.78.112"
    });
    eventually("its pods tell of it too", 30, || {
        let told = lab.field("pods -l app=web --field-selector spec.nodeName=n2", "{.items[*].status.hostIP}");
        !told.is_empty() && told.split(' ').all(|address| address == "192.168.78.112")
    });
    eventually("its pods are reached from other nodes", 60, || serves(&lab, 0, &url) && serves(&lab, 2, &url));
    eventually("and others from it", 60, || serves(&lab, 1, &url));
    assert_eq!(lab.field("pods -l app=web", "{.items[*].metadata.uid}"), before);
    assert_eq!(ready(&lab, "n2"), "True");
    assert_eq!(lab.log().matches("node connected node=n2").count(), connections, "the connection moved along");
    let pod = lab.field("pods -l app=web --field-selector spec.nodeName=n2", "{.items[0].metadata.name}");
    lab.in_pod(&pod, "true").ok();
}

#[test]
fn a_server_with_another_address_is_found_again_and_pods_reach_it() {
    let mut lab = start();
    lab.move_server("192.168.78.2");
    let pods = lab.field("pods -l app=web", "{.items[*].metadata.name}");
    eventually("every node is connected to the new address", 60, || {
        pods.split(' ').all(|pod| lab.in_pod(pod, "true").code == 0)
    });
    eventually("the API's Service leads to it", 60, || {
        lab.field("endpointslice kubernetes", "{.endpoints[0].addresses[0]}") == "192.168.78.2"
    });
    for node in &lab.nodes {
        eventually("pods and nodes reach the API", 60, || {
            node.sh("curl -sk -m 2 https://10.43.0.1/version").out.contains("bramble")
        });
    }
    lab.k("scale deployment web --replicas=4").ok();
    lab.k("rollout status deployment/web --timeout=60s").ok();
    assert!(!lab.log().contains("node stopped reporting"), "no node was given up meanwhile");
}

#[test]
fn a_killed_node_is_replaced_and_its_pods_move_and_services_follow() {
    let mut lab = start();
    let url = web(&lab);
    lab.nodes[2].power_off();
    eventually("the node is known to be lost", 90, || ready(&lab, "n3") == "Unknown");
    eventually("its pod runs elsewhere", 60, || {
        let template = "{range .items[*]}{.spec.nodeName}={.status.conditions[?(@.type==\"Ready\")].status} {end}";
        let pods = lab.field("pods -l app=web", template);
        let ready: Vec<&str> = pods.split_whitespace().filter(|pod| pod.ends_with("=True")).collect();
        ready.len() == 3 && ready.iter().all(|pod| !pod.starts_with("n3="))
    });
    eventually("the Service leads nowhere else", 60, || serves(&lab, 0, &url));
    lab.k("delete node n3").ok();
    // The machine comes back from repair as another one.
    let token = lab.token(&[]);
    lab.add_machine("n4", "192.168.78.14").start_agent(&["--join", &token]);
    lab.import_demo_on(3);
    lab.wait_ready(3);
    lab.k("scale deployment web --replicas=6").ok();
    lab.k("rollout status deployment/web --timeout=60s").ok();
    let nodes = lab.field("pods -l app=web", "{.items[*].spec.nodeName}");
    assert!(nodes.contains("n4"), "{nodes}");
    eventually("the new node serves too", 60, || serves(&lab, 3, &url));
    // What was deleted is not let in again.
    let lan = &lab.lan;
    lab.nodes[2].power_on(lan);
    lab.nodes[2].start_agent(&[]);
    eventually("the deleted node is told so", 30, || lab.nodes[2].log().contains("was removed from the cluster"));
    assert_eq!(lab.k("get node n3").code, 1);
}

#[test]
fn partitions_heal_into_the_right_state() {
    let lab = start();
    let url = web(&lab);
    // From the server: pods go on, and what was decided meanwhile is done afterwards.
    lab.lan.router().sh("true").ok();
    let block = |lab: &Lab, on: bool| {
        let action = if on { "add" } else { "del" };
        lab.nodes[1].network().ip(&format!("route {action} blackhole 192.168.78.1/32"));
    };
    block(&lab, true);
    lab.k("scale deployment web --replicas=1").ok();
    eventually("what is left serves", 30, || serves(&lab, 1, &url) || serves(&lab, 0, &url));
    lab.k("scale deployment web --replicas=5").ok();
    block(&lab, false);
    lab.k("rollout status deployment/web --timeout=90s").ok();
    eventually("all nodes serve", 60, || (0..3).all(|node| serves(&lab, node, &url)));
    lab.wait_ready(3);
    // Two nodes from each other: a Service still leads to the pods that can be reached, and to all of them afterwards.
    let other = lab.nodes[2].address.clone();
    let far = lab.field("pods -l app=web --field-selector spec.nodeName=n3", "{.items[0].status.podIP}");
    let reaches = |lab: &Lab| lab.nodes[0].sh(&format!("curl -sf -m 1 -o /dev/null http://{far}:8080/")).code == 0;
    eventually("both reach each other", 30, || reaches(&lab));
    lab.nodes[0].sh(&format!("nft 'add table inet cut; add chain inet cut in {{ type filter hook input priority 0; }}; \
         add chain inet cut out {{ type filter hook output priority 0; }}; \
         add chain inet cut through {{ type filter hook forward priority 0; }}; \
         add rule inet cut in ip saddr {{ {other}, {far} }} drop; add rule inet cut out ip daddr {{ {other}, {far} }} drop; \
         add rule inet cut through ip daddr {far} drop'"))
    .ok();
    assert!(!reaches(&lab), "the cut is one");
    assert_eq!((ready(&lab, "n1").as_str(), ready(&lab, "n3").as_str()), ("True", "True"), "the server sees both");
    eventually("others do not notice", 30, || serves(&lab, 1, &url) && serves(&lab, 2, &url));
    lab.nodes[0].sh("nft delete table inet cut").ok();
    eventually("both reach each other again", 30, || reaches(&lab) && serves(&lab, 0, &url));
    // Whatever was deleted by hand is there again.
    let routes = lab.nodes[0].network().ip("route show proto 66");
    for line in routes.lines() {
        let target = line.split(' ').next().unwrap();
        lab.nodes[0].network().ip(&format!("route del {target}"));
    }
    eventually("the routes are back", 30, || {
        lab.nodes[0].network().ip("route show proto 66").lines().count() == routes.lines().count()
    });
    lab.nodes[0].sh("nft flush ruleset").ok();
    eventually("the rules are back", 30, || serves(&lab, 0, &url));
    lab.lan.cut(lab.nodes[0].cable());
    lab.lan.mend(lab.nodes[0].cable());
    eventually("after a flap too", 30, || serves(&lab, 0, &url));
}

#[test]
fn nodes_behind_a_router_are_reached_through_vxlan() {
    let lab = Lab::with_nodes(&["192.168.78.11", "192.168.79.12", "192.168.79.13"], "");
    lab.apply(WEB).ok();
    lab.k("rollout status deployment/web --timeout=60s").ok();
    lab.k("expose deployment web --port=80 --target-port=8080").ok();
    let url = web(&lab);
    eventually("every node reaches every pod", 60, || (0..3).all(|node| serves(&lab, node, &url)));
    let pods = lab.field("pods -l app=web", "{.items[*].metadata.name}");
    let addresses = lab.field("pods -l app=web", "{.items[*].status.podIP}");
    for pod in pods.split(' ') {
        for address in addresses.split(' ') {
            lab.in_pod(pod, &format!("wget -q -O /dev/null http://{address}:8080/")).ok();
            lab.in_pod(pod, &format!("ping -c 1 -s 1350 {address}")).ok();
        }
    }
    assert!(lab.nodes[0].network().ip("-d link show type vxlan").contains("vxlan"), "through an overlay");
}
