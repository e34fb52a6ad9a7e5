//! A node on Debian's own kernel, of which nearly everything that pods and Services need is a module.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;

use tests::guest::machine::GuestMachine;
use tests::guest::{Guest, NODE_MODULES};
use tests::lab::{DEMO, Lab};
use tests::program::{Said, built, eventually};
use tests::registry::demo_archive;

/// Of which the last is the guest.
const NODES: [&str; 3] = ["n1", "n2", "g1"];

/// A web server a node, each of which answers with its own name and has something larger than a packet.
const PODS: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: bramble.local/demo:1
          command: [sh, -c, "hostname > /www/index.html; head -c 300000 /dev/zero > /www/large; exec httpd -f -p 8080 -h /www"]
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {app: nobody}
  ports: [{port: 80}]
"#;

/// Where commands are run.
fn client(node: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {node}, labels: {{app: client}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers: [{{name: client, image: "{DEMO}", command: [sleep, "10000"]}}]
"#
    )
}

/// Nobody reaches the servers, but for those who may.
const POLICY: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: servers}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {may: "yes"}}}]}]
"#;

/// Names and addresses of the servers, by node.
fn servers(lab: &Lab) -> [(String, String); 3] {
    NODES.map(|node| {
        let pods = format!("pods -l app=web --field-selector spec.nodeName={node}");
        let said = lab.field(&pods, "{.items[*].metadata.name} {.items[*].status.podIP}");
        let (name, address) = said.split_once(' ').unwrap_or_else(|| panic!("no server on {node}"));
        assert!(!address.contains(' '), "one server on {node}: {said}");
        (name.to_owned(), address.to_owned())
    })
}

/// Asks for an address so often that each of three endpoints is among the answers. Not with wget's own limit of time,
/// which ends in a segmentation fault in Debian's busybox.
fn often(url: &str) -> String {
    format!("for i in $(seq 40); do timeout 5 wget -q -O - http://{url} || exit 1; done")
}

fn answers(said: &Said) -> BTreeSet<String> {
    said.ok().lines().map(str::to_owned).collect()
}

/// A guest beyond a router as seen from n1, and on one LAN with n2.
fn start() -> (Lab, GuestMachine) {
    let lab = Lab::with_nodes(&["192.168.78.11", "192.168.79.12"], "");
    let guest = Guest::new();
    guest.install(&built("bramble-agent"));
    guest.copy(&demo_archive(lab.path(), DEMO), "/demo.tar");
    let mut machine = GuestMachine::boot(guest, &lab.lan, "g1", "192.168.79.21", &NODE_MODULES);
    machine.agent("image import /demo.tar").ok();
    let token = lab.token(&[]);
    machine.start_agent(&format!("--join {token}"));
    lab.wait_ready(3);
    (lab, machine)
}

#[test]
fn services_and_policies_hold_on_a_kernel_made_of_modules() {
    let (lab, mut guest) = start();
    let loaded = guest.sh("lsmod | cut -d ' ' -f 1").out;
    assert!(!loaded.lines().any(|module| module == "overlay" || module == "veth"), "nothing was asked for: {loaded}");
    lab.apply(&[PODS.to_owned(), client("n1"), client("n2"), client("g1")].join("---")).ok();
    lab.k("rollout status daemonset/web --timeout=60s").ok();
    lab.k("wait --for=condition=Ready pod/n1 pod/n2 pod/g1 --timeout=60s").ok();
    reach(&lab, &mut guest);
    refuse(&lab, &mut guest);
    let loaded = guest.sh("lsmod | cut -d ' ' -f 1").out;
    for module in NODE_MODULES {
        assert!(loaded.lines().any(|line| line == module), "{module} was not needed: {loaded}");
    }
    let complaints = guest.sh("dmesg | grep -E 'BUG|WARNING|Oops|segfault|martian'").out;
    assert_eq!(complaints, "");
}

/// From each pod and each machine to each pod, the Service by each of its names, and the node ports.
fn reach(lab: &Lab, guest: &mut GuestMachine) {
    let servers = servers(lab);
    let names: BTreeSet<String> = servers.iter().map(|(name, _)| name.clone()).collect();
    let cluster_ip = lab.field("service web", "{.spec.clusterIP}");
    let port = lab.field("service web", "{.spec.ports[0].nodePort}");
    eventually("the guest's proxy knows all three", 20, || {
        let said = guest.sh(&often(&cluster_ip));
        said.code == 0 && answers(&said) == names
    });
    let mut everything = String::from("set -e;");
    for (_, address) in &servers {
        // Larger than a packet on every way, also within VXLAN.
        everything += &format!("timeout 5 wget -q -O /dev/null http://{address}:8080/large;");
        everything += &format!("ping -q -c 1 -W 5 -s 4000 {address} >/dev/null;");
    }
    for target in ["192.168.78.11", "192.168.79.12", "192.168.79.21"].map(|node| format!("{node}:{port}")) {
        everything += &format!("timeout 5 wget -q -O /dev/null http://{target}/large;");
    }
    everything += &format!("timeout 5 wget -q -O /dev/null http://{cluster_ip}/large;");
    let by_name = ["web", "web.default", "web.default.svc.cluster.local"]
        .map(|name| format!("timeout 5 wget -q -O /dev/null http://{name}/;"))
        .concat();
    for client in NODES {
        lab.in_pod(client, &format!("{everything}{by_name}")).ok();
        assert_eq!(answers(&lab.in_pod(client, &often("web"))), names, "{client}");
        // Refused at once, not lost.
        let said = lab.in_pod(client, "timeout 20 wget -q -O - http://nobody/");
        said.fails("refused");
    }
    guest.sh(&everything).ok();
    guest.sh("nslookup web.default.svc.cluster.local 10.43.0.10").shows(&cluster_ip);
    for node in &lab.nodes {
        assert_eq!(answers(&node.sh(&often(&cluster_ip))), names);
    }
    let outside = format!("for i in $(seq 40); do curl -sSf -m 5 http://{}:{port}/ || exit 1; done", guest.address);
    assert_eq!(answers(&lab.lan.outsider(&outside)), names);
}

/// What a policy forbids does not come through, in the guest too, and what it allows does.
fn refuse(lab: &Lab, guest: &mut GuestMachine) {
    let [.., (_, server)] = servers(lab);
    let ask = format!("timeout 2 wget -q -O - http://{server}:8080/");
    lab.apply(POLICY).ok();
    for client in ["n2", "g1"] {
        eventually("the policy is in force", 20, || lab.in_pod(client, &ask).code != 0);
        lab.k(&format!("label pod {client} may=yes")).ok();
        eventually("those who may come in", 20, || lab.in_pod(client, &ask).code == 0);
        lab.k(&format!("label pod {client} may-")).ok();
    }
    // Probes and the node itself are not kept out.
    guest.sh(&ask).ok();
}

#[test]
fn modules_that_the_kernel_does_not_have_are_named() {
    let guest = Guest::new();
    guest.install(&built("bramble-agent"));
    guest.install_modules(&["veth", "nft_chain_nat", "nft_ct", "nft_nat", "nft_reject_ipv4"]);
    let agent = built("bramble-agent");
    let shown = guest.run(&format!("! NO_COLOR=1 {} doctor", agent.display()), 60);
    let line = |what: &str| shown.lines().find(|line| line.split_whitespace().nth(1) == Some(what)).unwrap_or(&shown);
    assert!(line("veth").starts_with("ok"), "{shown}");
    let rules = line("nftables");
    let lacking = "the kernel has no nft_fib_ipv4, nft_numgen, nft_masq, nf_conntrack_netlink:";
    assert!(rules.starts_with("MISSING") && rules.contains(lacking), "{shown}");
}
