//! Workloads as a homelab runs them: images from a real registry, restarts, replacements, rolling updates.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::cluster::{Cluster, DEMO};
use tests::program::{eventually, kubectl};
use tests::registry::{Registry, demo_archive};

fn web(image: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 1}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: web, image: '{image}'}}
"
    )
}

fn pod_addresses(cluster: &Cluster) -> Vec<String> {
    let out = cluster.k("get pods -l app=web -o jsonpath={.items[*].status.podIP}").ok().to_owned();
    out.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn three_pods_from_a_real_registry_answer_and_are_replaced() {
    let cluster = Cluster::start();
    let registry = Registry::start(&cluster.namespace);
    let archive = demo_archive(cluster.path(), "pushed:1");
    let image = registry.push(&cluster.namespace, &archive, "demo:1");
    cluster.apply(&web(&image, 3)).ok();
    cluster.k("rollout status deployment/web --timeout=90s").ok();
    cluster.k("get events").shows("Successfully pulled image");
    let addresses = pod_addresses(&cluster);
    assert_eq!(addresses.len(), 3);
    for address in &addresses {
        cluster.http(&format!("http://{address}:8080/")).shows("Hello from a bramble.");
    }

    kill(web_pids(&cluster)[0], Signal::SIGKILL).unwrap();
    eventually("a killed process is restarted", 60, || {
        let path = "jsonpath={.items[*].status.containerStatuses[0].restartCount}";
        let counts = cluster.kubectl(&["get", "pods", "-o", path]).out;
        counts.split(' ').filter(|count| *count == "1").count() == 1
    });
    let pod = cluster.k("get pods -o jsonpath={.items[0].metadata.name}").ok().to_owned();
    cluster.kubectl(&["delete", "pod", &pod]).shows("deleted");
    cluster.k("rollout status deployment/web --timeout=60s").ok();
    eventually("a deleted pod is replaced", 60, || pod_addresses(&cluster).len() == 3);
    assert!(!cluster.k("get pods -o name").ok().contains(&pod));
}

#[test]
fn a_rolling_update_keeps_the_allowed_pods_ready() {
    let cluster = Cluster::start();
    cluster.apply(&web(DEMO, 4)).ok();
    cluster.k("rollout status deployment/web --timeout=90s").ok();
    let mut watch = cluster
        .kubectl_command(
            &kubectl(),
            &["get", "deployment", "web", "-w", "-o", "jsonpath={.status.readyReplicas} {.status.replicas}\n"],
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for round in 0..3 {
        cluster.k(&format!("set env deployment/web ROUND={round}")).ok();
        cluster.k("rollout status deployment/web --timeout=90s").ok();
    }
    watch.kill().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    let seen: Vec<(u32, u32)> = lines
        .filter_map(|line| {
            let (ready, all) = line.split_once(' ')?;
            Some((ready.parse().unwrap_or(0), all.parse().unwrap_or(0)))
        })
        .collect();
    watch.wait().unwrap();
    assert!(seen.len() > 6, "the watch saw too little: {seen:?}");
    // Surge is counted by what the ReplicaSets are told to have, as in Kubernetes: a pod that one of them is about to
    // delete may live for a moment beside its successor.
    assert!(seen.iter().all(|(ready, all)| *ready >= 3 && *all <= 6), "{seen:?}");
}

#[test]
fn configuration_secrets_and_volumes_reach_the_container() {
    let cluster = Cluster::start();
    cluster.k("create configmap settings --from-literal=color=green --from-literal=size=4").ok();
    cluster.k("create secret generic keys --from-literal=password=s3cret").ok();
    let manifest = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: full, labels: {{app: full}}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  initContainers:
  - {{name: prepare, image: '{DEMO}', command: [sh, -c, 'echo prepared > /shared/state'], volumeMounts: [{{name: shared, mountPath: /shared}}]}}
  containers:
  - name: main
    image: '{DEMO}'
    workingDir: /tmp
    command: [sh, -c]
    args: ['pwd; cat /shared/state; echo $COLOR $PASSWORD $NAME $(SIZE); cat /etc/settings/color; cat /etc/keys/password; echo; cat /host/note; id -u; exit 3']
    env:
    - {{name: SIZE, value: big}}
    - {{name: COLOR, valueFrom: {{configMapKeyRef: {{name: settings, key: color}}}}}}
    - {{name: PASSWORD, valueFrom: {{secretKeyRef: {{name: keys, key: password}}}}}}
    - {{name: NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
    securityContext: {{runAsUser: 1000}}
    volumeMounts:
    - {{name: shared, mountPath: /shared}}
    - {{name: settings, mountPath: /etc/settings}}
    - {{name: keys, mountPath: /etc/keys}}
    - {{name: host, mountPath: /host, readOnly: true}}
  volumes:
  - {{name: shared, emptyDir: {{}}}}
  - {{name: settings, configMap: {{name: settings}}}}
  - {{name: keys, secret: {{secretName: keys}}}}
  - {{name: host, hostPath: {{path: '{host}', type: Directory}}}}
",
        host = cluster.path().join("host").display()
    );
    std::fs::create_dir(cluster.path().join("host")).unwrap();
    std::fs::write(cluster.path().join("host/note"), "from the host\n").unwrap();
    // The test's folder is private to root; the container runs as another user.
    Command::new("chmod").args(["-R", "a+rX"]).arg(cluster.path()).status().unwrap();
    cluster.apply(&manifest).ok();
    eventually("the pod fails as asked", 60, || cluster.k("get pod full -o jsonpath={.status.phase}").out == "Failed");
    let out = cluster.k("logs full").ok().to_owned();
    assert_eq!(out, "/tmp\nprepared\ngreen s3cret full big\ngreens3cret\nfrom the host\n1000\n");
    let path = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode} {.status.containerStatuses[0].state.terminated.reason}";
    assert_eq!(cluster.kubectl(&["get", "pod", "full", "-o", path]).ok(), "3 Error");
}

#[test]
fn what_goes_wrong_is_said_in_kubernetes_words() {
    let cluster = Cluster::start();
    cluster.k("run missing --image=127.0.0.1:1/none:1 --restart=Never").ok();
    cluster.k("run never --image=bramble.local/absent:1 --image-pull-policy=Never --restart=Never").ok();
    cluster.kubectl(&["run", "crash", &format!("--image={DEMO}"), "--command", "--", "sh", "-c", "exit 1"]).ok();
    cluster.kubectl(&["run", "nofile", &format!("--image={DEMO}"), "--restart=Never", "--command", "--", "/none"]).ok();
    let reason = |pod: &str, word: &str| {
        eventually(&format!("{pod} says {word}"), 60, || {
            cluster.k("get pods").out.lines().any(|line| line.starts_with(pod) && line.contains(word))
        });
    };
    reason("missing", "ImagePull");
    reason("never", "ErrImageNeverPull");
    reason("crash", "CrashLoopBackOff");
    reason("nofile", "StartError");
    cluster.k("describe pod crash").shows("Back-off");
    cluster.k("get events").shows("Failed to pull image");
}

#[test]
fn a_container_over_its_memory_is_killed_and_says_so() {
    let cluster = Cluster::start();
    let manifest = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: greedy}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: '{DEMO}'
    command: [sh, -c, 'dd if=/dev/zero of=/dev/shm/fill bs=1M count=48; tail /dev/zero']
    resources: {{limits: {{memory: 24Mi}}}}
"
    );
    cluster.apply(&manifest).ok();
    eventually("the kill is reported", 60, || {
        cluster
            .kubectl(&["get", "pod", "greedy", "-o", "jsonpath={.status.containerStatuses[0].state.terminated.reason}"])
            .out
            == "OOMKilled"
    });
}

#[test]
fn a_process_killed_by_hand_comes_back() {
    let cluster = Cluster::start();
    cluster.apply(&web(DEMO, 1)).ok();
    cluster.k("rollout status deployment/web --timeout=90s").ok();
    let pid = web_pids(&cluster)[0];
    kill(pid, Signal::SIGKILL).unwrap();
    eventually("it is started again", 60, || web_pids(&cluster).iter().any(|other| *other != pid));
    eventually("137 is its last state", 60, || {
        let path = "jsonpath={.items[0].status.containerStatuses[0].lastState.terminated.exitCode}";
        cluster.kubectl(&["get", "pods", "-o", path]).out == "137"
    });
}

#[test]
fn both_programs_can_be_measured() {
    let cluster = Cluster::start();
    cluster.apply(&web(DEMO, 1)).ok();
    cluster.k("rollout status deployment/web --timeout=90s").ok();
    let server = cluster.k("get --raw /metrics").ok().to_owned();
    for name in ["apiserver_request_total", "process_resident_memory_bytes"] {
        assert!(server.contains(name), "{name} is not in {server}");
    }
    let agent = cluster.http("http://127.0.0.1:10249/metrics").ok().to_owned();
    assert!(agent.contains("process_resident_memory_bytes") && agent.contains("pods"), "{agent}");
}

/// Web servers that run in pods of this cluster, found by the cgroup parent that only its agent uses.
fn web_pids(cluster: &Cluster) -> Vec<Pid> {
    cluster.container_pids("httpd")
}

use std::process::Command;
