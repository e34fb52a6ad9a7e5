//! A cluster of several machines on one LAN: joining, pods of all nodes, Services, names, load balancers.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;

use tests::lab::Lab;
use tests::program::eventually;

/// A web server on every node, each of which answers with its own name, and a client pod on every node.
const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 5
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      hostname: ""
      topologySpreadConstraints: []
      containers:
        - name: web
          image: bramble.local/demo:1
          command: [sh, -c, "hostname > /www/index.html; exec httpd -f -p 8080 -h /www"]
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
"#;

fn deploy(lab: &Lab) {
    lab.apply(WEB).ok();
    lab.k("rollout status deployment/web --timeout=60s").ok();
}

/// Pods of the Deployment, with their nodes and addresses.
fn pods(lab: &Lab) -> Vec<(String, String, String)> {
    let template = "{range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIP}{\"\\n\"}{end}";
    let lines = lab.field("pods -l app=web", template);
    let words = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].to_owned(), words[1].to_owned(), words[2].to_owned())
    };
    lines.lines().map(words).collect()
}

#[test]
fn each_pod_reaches_each_pod_service_name_and_node() {
    let lab = Lab::start(5);
    deploy(&lab);
    let pods = pods(&lab);
    let nodes: BTreeSet<&String> = pods.iter().map(|(_, node, _)| node).collect();
    assert_eq!(nodes.len(), 5, "a pod on each node: {pods:?}");
    let every: Vec<String> = pods.iter().map(|(_, _, address)| format!("{address}:8080")).collect();
    let cluster_ip = lab.field("service web", "{.spec.clusterIP}");
    // The Service spreads over all of them, from each node itself too.
    let names: BTreeSet<String> = pods.iter().map(|(name, ..)| name.clone()).collect();
    for node in &lab.nodes {
        let line = format!("for i in $(seq 60); do curl -sSf -m 5 http://{cluster_ip}/; done");
        eventually("the Service leads to each pod", 60, || {
            node.sh(&line).out.lines().map(str::to_owned).collect::<BTreeSet<_>>() == names
        });
    }
    for (pod, _, _) in &pods {
        let mut line = String::from("set -e;");
        for target in &every {
            line += &format!("wget -q -O /dev/null http://{target}/;");
        }
        line += &format!("wget -q -O /dev/null http://{cluster_ip}/;");
        for name in ["web", "web.default", "web.default.svc.cluster.local"] {
            line += &format!("wget -q -O /dev/null http://{name}/;");
        }
        for node in &lab.nodes {
            line += &format!("ping -c 1 -W 5 {} >/dev/null;", node.address);
        }
        lab.in_pod(pod, &line).ok();
    }
}
