//! Every type of Service by real connections, on a cluster of several machines.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tests::lab::Lab;
use tests::program::{Said, eventually};

/// A web server on each of three nodes that answers with its own name, or with who asked.
const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, serves: "yes"}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: web
          image: bramble.local/demo:1
          command:
            - sh
            - -c
            - |
              mkdir -p /www/cgi-bin
              hostname > /www/index.html
              printf '#!/bin/sh\necho "Content-Type: text/plain"; echo; echo $REMOTE_ADDR\n' > /www/cgi-bin/who
              chmod +x /www/cgi-bin/who
              httpd -f -p 8081 -h /www &
              exec httpd -f -p 8080 -h /www
          ports: [{name: http, containerPort: 8080}, {name: other, containerPort: 8081}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
"#;

fn service(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: web}}, {spec}}}\n"
    )
}

fn start(config: &str) -> Lab {
    let lab = Lab::with_nodes(&["192.168.78.11", "192.168.78.12", "192.168.78.13"], config);
    lab.apply(WEB).ok();
    lab.k("rollout status deployment/web --timeout=60s").ok();
    lab
}

fn wait_endpoints(lab: &Lab, service: &str, count: usize) {
    let selector = format!("endpointslices -l kubernetes.io/service-name={service}");
    eventually("the endpoints are there", 60, || {
        let found = lab.field(&selector, "{.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}");
        found.split_whitespace().count() == count
    });
}

/// Who answers `count` requests, each of which must be answered.
fn answers(lab: &Lab, node: usize, url: &str, count: usize) -> BTreeSet<String> {
    names_in(lab.nodes[node].sh(&asking(url, count)).ok())
}

fn asking(url: &str, count: usize) -> String {
    format!("for i in $(seq {count}); do curl -sSf -m 5 {url} || exit 1; done")
}

fn names_in(said: &str) -> BTreeSet<String> {
    said.lines().map(str::to_owned).collect()
}

/// Waits until exactly these answer: endpoints that the API has are not yet in force on each node.
fn led_to(names: &BTreeSet<String>, url: &str, count: usize, ask: impl Fn(&str) -> Said) {
    eventually(&format!("{url} leads to {names:?}"), 60, || {
        let said = ask(&asking(url, count));
        said.code == 0 && names_in(&said.out) == *names
    });
}

#[test]
fn services_of_every_type_answer_on_every_node() {
    let lab = start("");
    lab.apply(
        &[
            service("cluster", "ports: [{name: http, port: 80, targetPort: http}, {name: other, port: 81, targetPort: 8081}]"),
            service("node", "type: NodePort, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]"),
            service("local", "type: NodePort, externalTrafficPolicy: Local, ports: [{port: 80, targetPort: 8080, nodePort: 30081}]"),
            service("inside", "internalTrafficPolicy: Local, ports: [{port: 80, targetPort: 8080}]"),
            service("sticky", "sessionAffinity: ClientIP, ports: [{port: 80, targetPort: 8080}]"),
            service("headless", "clusterIP: None, ports: [{name: http, port: 80, targetPort: http}]"),
            "---\napiVersion: v1\nkind: Service\nmetadata: {name: alias}\nspec: {type: ExternalName, externalName: cluster.default.svc.cluster.local}\n".to_owned(),
            "---\napiVersion: v1\nkind: Service\nmetadata: {name: nobody}\nspec: {selector: {app: nobody}, ports: [{port: 80}]}\n".to_owned(),
        ]
        .concat(),
    )
    .ok();
    for name in ["cluster", "node", "local", "inside", "sticky", "headless"] {
        wait_endpoints(&lab, name, 3);
    }
    let ip = |name: &str| lab.field(&format!("service {name}"), "{.spec.clusterIP}");
    let names: BTreeSet<String> =
        lab.field("pods -l app=web", "{.items[*].metadata.name}").split(' ').map(str::to_owned).collect();
    let pod_on = |node: &str| {
        lab.field(&format!("pods -l app=web --field-selector spec.nodeName={node}"), "{.items[0].metadata.name}")
    };

    // ClusterIP with two ports; NodePort on every node from outside; refusals at once.
    for node in 0..3 {
        let (inside, outside) = (|line: &str| lab.nodes[node].sh(line), |line: &str| lab.lan.outsider(line));
        led_to(&names, &format!("http://{}/", ip("cluster")), 40, inside);
        led_to(&names, &format!("http://{}:81/", ip("cluster")), 40, inside);
        let refusal = format!("curl -sS -m 5 http://{}/", ip("nobody"));
        eventually("refused, not silent", 30, || inside(&refusal).code == 7);
        let address = &lab.nodes[node].address;
        led_to(&names, &format!("http://{address}:30080/"), 40, outside);
        // The Local policy keeps to the node and keeps who asked.
        let own = BTreeSet::from([pod_on(&lab.nodes[node].name)]);
        led_to(&own, &format!("http://{address}:30081/"), 1, outside);
        let who = lab.lan.http(&format!("http://{address}:30081/cgi-bin/who"));
        assert!(who.ok().contains("192.168.78.254"), "{}", who.out);
        led_to(&own, &format!("http://{}/", ip("inside")), 10, inside);
        let sticky = format!("http://{}/", ip("sticky"));
        eventually("it has its endpoints", 30, || inside(&asking(&sticky, 1)).code == 0);
        assert_eq!(answers(&lab, node, &sticky, 20).len(), 1);
    }

    // Names: headless ones are the pods, an alias is another name.
    let pod = pod_on("n1");
    let addresses = lab.field("pods -l app=web", "{.items[*].status.podIP}");
    eventually("a headless Service's name is its pods", 30, || {
        let found = lab.in_pod(&pod, "nslookup headless.default.svc.cluster.local").out;
        addresses.split(' ').all(|address| found.contains(address))
    });
    assert!(names.contains(lab.in_pod(&pod, "wget -q -O - http://alias/").ok().trim()));
    // A pod reaches itself through its Service.
    lab.in_pod(&pod, "for i in $(seq 12); do wget -q -O - http://cluster/ || exit 1; done").ok();
}

#[test]
fn udp_follows_its_endpoints() {
    let lab = start("");
    let echo = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: echo}}
spec:
  nodeName: NODE
  terminationGracePeriodSeconds: 0
  containers:
    - name: echo
      image: bramble.local/demo:1
      command:
        - busybox
        - chroot
        - /host
        - python3
        - -c
        - |
          import socket
          s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
          s.bind(("", 5000))
          while True: s.sendto(b"NAME", s.recvfrom(99)[1])
      volumeMounts: [{name: host, mountPath: /host, readOnly: true}]
  volumes: [{name: host, hostPath: {path: /}}]
"#;
    let pod = |name: &str, node: &str| echo.replace("NAME", name).replace("NODE", node);
    lab.apply("apiVersion: v1\nkind: Service\nmetadata: {name: echo}\nspec: {selector: {app: echo}, ports: [{port: 5000, protocol: UDP}]}").ok();
    lab.apply(&pod("first", "n2")).ok();
    lab.k("wait pod first --for=condition=Ready --timeout=60s").ok();
    let ip = lab.field("service echo", "{.spec.clusterIP}");
    // One source port all along: without care its flow would go to a pod that is gone for ever.
    let client = format!(
        "python3 -c 'import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"\", 7777)); \
         s.settimeout(1); s.sendto(b\"hi\\n\", (\"{ip}\", 5000)); print(s.recv(99).decode().strip())'"
    );
    let ask = |lab: &Lab| lab.nodes[0].sh(&client).out.trim().to_owned();
    eventually("the first answers", 30, || ask(&lab) == "first");
    lab.k("delete pod first --wait").ok();
    lab.apply(&pod("second", "n3")).ok();
    lab.k("wait pod second --for=condition=Ready --timeout=60s").ok();
    eventually("the second answers the same client", 30, || ask(&lab) == "second");
}

#[test]
fn a_load_balancer_address_is_reached_from_the_lan_and_moves_when_its_node_is_lost() {
    let mut lab = start("loadBalancerPool: [192.168.78.200-192.168.78.210]\n");
    lab.apply(&service("balanced", "type: LoadBalancer, ports: [{port: 80, targetPort: 8080}]")).ok();
    eventually("it has an address", 30, || {
        lab.field("service balanced", "{.status.loadBalancer.ingress[0].ip}") == "192.168.78.200"
    });
    let url = "http://192.168.78.200/";
    eventually("it answers", 30, || lab.lan.http(url).code == 0);
    let links: Vec<String> = lab.nodes.iter().map(|node| node.network().ip("-br link show eth0")).collect();
    let holder = |lab: &Lab| {
        let line = "ip neigh flush to 192.168.78.200; busybox arping -q -f -c 1 -w 1 -I lan 192.168.78.200; \
                    busybox arping -f -c 1 -w 2 -I lan 192.168.78.200";
        let said = lab.lan.outsider(line).out;
        let mac = said.split_once('[')?.1.split_once(']')?.0;
        links.iter().position(|link| link.contains(mac))
    };
    let mut found = None;
    eventually("a node answers for it", 30, || {
        found = holder(&lab);
        found.is_some()
    });
    let first = found.unwrap();
    // The server is away and the node loses its power: the others decide among themselves.
    lab.stop_server(nix::sys::signal::Signal::SIGKILL);
    lab.nodes[first].power_off();
    let lost = std::time::Instant::now();
    eventually("another node has it", 20, || holder(&lab).is_some_and(|now| now != first));
    println!("moved after {} ms, seen by pings of up to three seconds", lost.elapsed().as_millis());
    // Its pods are endpoints still: one connection in three goes nowhere until the server says so.
    eventually("it answers again", 30, || lab.lan.outsider(&format!("curl -sf -m 1 {url}")).code == 0);
}

#[test]
fn two_hundred_endpoint_changes_fail_no_connection_to_a_ready_pod() {
    let lab = start("");
    lab.apply("apiVersion: v1\nkind: Service\nmetadata: {name: busy}\nspec: {selector: {serves: \"yes\"}, ports: [{port: 80, targetPort: 8080}]}").ok();
    wait_endpoints(&lab, "busy", 3);
    lab.k("scale deployment web --replicas=6").ok();
    lab.k("rollout status deployment/web --timeout=60s").ok();
    let url = format!("http://{}/", lab.field("service busy", "{.spec.clusterIP}"));
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let pods = lab.field("pods -l app=web", "{.items[*].metadata.name}");
    let pods: Vec<&str> = pods.split(' ').collect();
    std::thread::scope(|scope| {
        let clients: Vec<_> = lab
            .nodes
            .iter()
            .map(|node| {
                let (done, asked, url) = (&done, &asked, &url);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let said = node
                            .sh(&format!("for i in $(seq 25); do curl -sSf -m 5 -o /dev/null {url} || exit 1; done"));
                        if said.code != 0 {
                            return Err(said.err);
                        }
                        asked.fetch_add(25, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        // A pod without the label is no endpoint any more, though it goes on serving: each change is one of endpoints.
        for round in 0..34 {
            // Every second one, in turn, one after the other.
            let some = [0, 2, 4].map(|step| pods[(round + step) % pods.len()]).join(" ");
            lab.k(&format!("label pod {some} serves=no --overwrite")).ok();
            lab.k(&format!("label pod {some} serves=yes --overwrite")).ok();
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            assert_eq!(client.join().unwrap(), Ok(()));
        }
    });
    println!("{} connections", asked.load(Ordering::Relaxed));
    assert!(asked.load(Ordering::Relaxed) > 500);
}
