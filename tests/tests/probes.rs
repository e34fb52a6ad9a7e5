//! Probes and lifecycle hooks as a user meets them, with a real kubectl.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use tests::cluster::{Cluster, DEMO};
use tests::program::eventually;

/// A pod of one container that runs `script`; `fields` are more of the container's, in YAML's flow style.
fn pod(name: &str, script: &str, fields: &str, grace_seconds: u32) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: {grace_seconds}
  containers:
  - name: main
    image: '{DEMO}'
    command: [sh, -c, '{script}']
    {fields}
---
"
    )
}

fn field(cluster: &Cluster, pod: &str, path: &str) -> String {
    cluster.kubectl(&["get", "pod", pod, "-o", &format!("jsonpath={{{path}}}")]).out
}

fn is_ready(cluster: &Cluster, pod: &str) -> bool {
    field(cluster, pod, ".status.conditions[?(@.type==\"Ready\")].status") == "True"
}

fn restarts(cluster: &Cluster, pod: &str) -> String {
    field(cluster, pod, ".status.containerStatuses[0].restartCount")
}

/// `REASON: MESSAGE` a line.
fn events(cluster: &Cluster, pod: &str) -> String {
    let path = "jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}";
    cluster.kubectl(&["get", "events", "--field-selector", &format!("involvedObject.name={pod}"), "-o", path]).out
}

fn run(cluster: &Cluster, pod: &str, script: &str) {
    cluster.kubectl(&["exec", pod, "--", "sh", "-c", script]).ok();
}

#[track_caller]
fn sees(cluster: &Cluster, pod: &str, words: &str) {
    eventually(words, 60, || events(cluster, pod).contains(words));
}

const SERVE: &str = "exec httpd -f -p 8080 -h /tmp";

#[test]
fn a_pod_is_ready_while_its_readiness_probe_succeeds() {
    let cluster = Cluster::start();
    let manifests = [
        pod(
            "http",
            SERVE,
            "readinessProbe: {httpGet: {path: /ok, port: web}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 1}\n    ports: [{name: web, containerPort: 8080}]",
            0,
        ),
        pod(
            "exec",
            "sleep 1000",
            "readinessProbe: {exec: {command: [cat, /tmp/ok]}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 1}",
            0,
        ),
        pod(
            "tcp",
            "until test -e /tmp/ok; do sleep 0.1; done; exec httpd -f -p 8080",
            "readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, timeoutSeconds: 20}",
            0,
        ),
    ];
    cluster.apply(&manifests.concat()).ok();
    sees(&cluster, "http", "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404");
    sees(&cluster, "exec", "Unhealthy: Readiness probe failed: cat: can't open '/tmp/ok': No such file or directory");
    eventually("the pod has its address", 30, || !field(&cluster, "tcp", ".status.podIP").is_empty());
    let address = field(&cluster, "tcp", ".status.podIP");
    let refused = format!("Unhealthy: Readiness probe failed: dial tcp {address}:8080: connect: connection refused");
    sees(&cluster, "tcp", &refused);
    for name in ["http", "exec", "tcp"] {
        assert_eq!(field(&cluster, name, ".status.phase"), "Running");
        assert_eq!(field(&cluster, name, ".status.containerStatuses[0].started"), "true");
        let message = field(&cluster, name, ".status.conditions[?(@.type==\"Ready\")].message");
        assert_eq!(message, "containers with unready status: [main]");
        run(&cluster, name, "touch /tmp/ok");
        eventually("the pod becomes ready", 60, || is_ready(&cluster, name));
    }
    cluster.k("get pods").shows("1/1");
    for name in ["http", "exec"] {
        run(&cluster, name, "rm /tmp/ok");
        eventually("the pod is no longer ready", 60, || !is_ready(&cluster, name));
        assert_eq!(restarts(&cluster, name), "0");
    }
    let late = "readinessProbe: {exec: {command: [sleep, \"77\"]}, periodSeconds: 1}";
    cluster.apply(&pod("late", "sleep 1000", late, 0)).ok();
    sees(&cluster, "late", "Unhealthy: Readiness probe failed: command timed out: \"sleep 77\" timed out after 1s");
    no_leftovers(&cluster);
}

/// Commands of probes leave no sockets, and no processes but what runs in the containers.
fn no_leftovers(cluster: &Cluster) {
    let sockets = || {
        let mut found = Vec::new();
        walk(&cluster.data().join("run"), &mut found);
        found.into_iter().filter(|name| name.contains("tenant")).count()
    };
    eventually("no socket of a command is left", 30, || sockets() <= 1);
    let asleep = |pid: &nix::unistd::Pid| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').eq(["sleep", "77", ""])
    };
    eventually("a command that timed out is killed", 30, || {
        cluster.container_pids("").iter().filter(|pid| asleep(pid)).count() <= 1
    });
    eventually("no command is left as a zombie", 30, || {
        let zombies = cluster.container_pids("").into_iter().filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
        });
        zombies.count() <= 1
    });
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
    }
}

#[test]
fn a_failed_liveness_probe_restarts_and_a_startup_probe_holds_it_back() {
    let cluster = Cluster::start();
    // What must not fail for lack of time has enough of it.
    let live = "livenessProbe: {exec: {command: [test, -e, /tmp/live]}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 2}";
    let startup = "startupProbe: {exec: {command: [test, -e, /tmp/up]}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 600}";
    let slow =
        format!("{startup}\n    {live}\n    readinessProbe: {{exec: {{command: [\"true\"]}}, timeoutSeconds: 20}}");
    let late = "livenessProbe: {exec: {command: [sleep, \"100\"]}, periodSeconds: 1, failureThreshold: 1}";
    let manifests = [
        pod("live", "touch /tmp/live; sleep 1000", live, 1),
        pod("slow", "sleep 1000", &slow, 1),
        pod("late", "sleep 1000", late, 1),
    ];
    cluster.apply(&manifests.concat()).ok();
    eventually("the pod is ready", 30, || is_ready(&cluster, "live"));
    run(&cluster, "live", "rm /tmp/live");
    eventually("the container is restarted", 30, || restarts(&cluster, "live") == "1");
    sees(&cluster, "live", "Unhealthy: Liveness probe failed: ");
    sees(&cluster, "live", "Killing: Container main failed liveness probe, will be restarted");
    eventually("it is ready again", 30, || is_ready(&cluster, "live"));
    assert_eq!(field(&cluster, "live", ".status.containerStatuses[0].lastState.terminated.exitCode"), "137");
    sees(&cluster, "late", "Unhealthy: Liveness probe failed: command timed out: \"sleep 100\" timed out after 1s");

    // Its liveness probe would have failed many times by now.
    sees(&cluster, "slow", "Unhealthy: Startup probe failed: ");
    assert_eq!(field(&cluster, "slow", ".status.containerStatuses[0].started"), "false");
    assert_eq!((restarts(&cluster, "slow"), is_ready(&cluster, "slow")), ("0".to_owned(), false));
    assert!(!events(&cluster, "slow").contains("Liveness"));
    run(&cluster, "slow", "touch /tmp/live /tmp/up");
    eventually("the pod is ready once it has started", 30, || is_ready(&cluster, "slow"));
    assert_eq!(restarts(&cluster, "slow"), "0");
    run(&cluster, "slow", "rm /tmp/live");
    sees(&cluster, "slow", "Killing: Container main failed liveness probe, will be restarted");
}

#[test]
fn a_restarted_agent_takes_ready_containers_as_ready() {
    let cluster = Cluster::start();
    let probes = "readinessProbe: {exec: {command: [test, -e, /tmp/ok]}, periodSeconds: 1, timeoutSeconds: 20}
    startupProbe: {exec: {command: [test, -e, /tmp/ok]}, periodSeconds: 1, timeoutSeconds: 20}
    lifecycle: {postStart: {exec: {command: [sh, -c, \"echo x >> /tmp/posts; touch /tmp/ok\"]}}}";
    cluster.apply(&pod("kept", "sleep 1000", probes, 0)).ok();
    eventually("the pod is ready", 30, || is_ready(&cluster, "kept"));
    let since = field(&cluster, "kept", ".status.conditions[?(@.type==\"Ready\")].lastTransitionTime");
    let old = cluster.pid("agent").unwrap();
    kill(old, Signal::SIGKILL).unwrap();
    eventually("another agent runs", 30, || cluster.pid("agent").is_some_and(|pid| pid != old));
    eventually("probes go on", 30, || {
        // Refused until the new agent has a session.
        let _ = cluster.kubectl(&["exec", "kept", "--", "rm", "-f", "/tmp/ok"]);
        !is_ready(&cluster, "kept")
    });
    let unready = field(&cluster, "kept", ".status.conditions[?(@.type==\"Ready\")].lastTransitionTime");
    assert_ne!(since, unready);
    assert_eq!(field(&cluster, "kept", ".status.containerStatuses[0].started"), "true");
    assert_eq!(restarts(&cluster, "kept"), "0");
    cluster.kubectl(&["exec", "kept", "--", "cat", "/tmp/posts"]).shows("x");
    assert_eq!(cluster.kubectl(&["exec", "kept", "--", "cat", "/tmp/posts"]).out, "x\n");
}

#[test]
fn hooks_run_in_their_order_and_within_the_grace() {
    let cluster = Cluster::start();
    let log = "mkdir -p /shared; echo";
    let ordered = format!(
        "lifecycle:
      postStart: {{exec: {{command: [sh, -c, \"until test -e /shared/go; do sleep 0.1; done; echo started >> /shared/log\"]}}}}
      preStop: {{exec: {{command: [sh, -c, \"{log} stopping >> /shared/log; sleep 1; echo stopped >> /shared/log\"]}}}}
    volumeMounts: [{{name: shared, mountPath: /shared}}]
  volumes: [{{name: shared, hostPath: {{path: {}, type: DirectoryOrCreate}}}}]",
        cluster.path().join("shared").display()
    );
    // The image's stop signal is SIGKILL: that the hook was whole shows that the signal came after it.
    let stuck = "lifecycle: {preStop: {exec: {command: [sleep, \"100\"]}}}";
    let fails = "lifecycle: {preStop: {exec: {command: [\"false\"]}}}";
    let broken = "lifecycle: {postStart: {exec: {command: [\"false\"]}}}";
    let manifests = [
        pod("ordered", "sleep 1000", &ordered, 30),
        pod("stuck", "sleep 1000", stuck, 3),
        pod("fails", "sleep 1000", fails, 30),
        pod("broken", "sleep 1000", broken, 0),
    ];
    cluster.apply(&manifests.concat()).ok();
    sees(&cluster, "ordered", "Started: Container started");
    assert_eq!(field(&cluster, "ordered", ".status.phase"), "Pending");
    let waiting = field(&cluster, "ordered", ".status.containerStatuses[0].state.waiting.reason");
    assert_eq!(waiting, "ContainerCreating");
    std::fs::write(cluster.path().join("shared/go"), "").unwrap();
    eventually("it runs after its postStart hook", 60, || is_ready(&cluster, "ordered"));
    sees(&cluster, "broken", "FailedPostStartHook: PostStartHook failed");
    eventually("a container whose postStart fails is restarted", 60, || {
        restarts(&cluster, "broken").parse().is_ok_and(|count: u32| count >= 1)
    });

    cluster.k("delete pod ordered --timeout=60s").ok();
    let log = std::fs::read_to_string(cluster.path().join("shared/log")).unwrap();
    assert_eq!(log, "started\nstopping\nstopped\n");
    eventually("the others run", 60, || is_ready(&cluster, "stuck") && is_ready(&cluster, "fails"));
    cluster.k("delete pod fails --wait=false").ok();
    sees(&cluster, "fails", "FailedPreStopHook: PreStopHook failed");
    let begun = std::time::Instant::now();
    cluster.k("delete pod stuck --timeout=60s").ok();
    let seconds = begun.elapsed().as_secs();
    assert!((3..60).contains(&seconds), "a hook has the grace and no more, not {seconds} s");
    sees(&cluster, "stuck", "Killing: Stopping container main");

    cluster.apply(&manifests[0]).ok();
    eventually("it runs once more", 60, || is_ready(&cluster, "ordered"));
    cluster.agent(&["stop"]).ok();
    let log = std::fs::read_to_string(cluster.path().join("shared/log")).unwrap();
    assert!(
        log.ends_with("started\nstopping\nstopped\nstarted\nstopping\nstopped\n"),
        "a stop of the node is one too: {log}"
    );
}

#[test]
fn a_readiness_gate_is_opened_by_whoever_it_belongs_to() {
    let cluster = Cluster::start();
    let probe = "readinessProbe: {exec: {command: [test, -e, /tmp/ok]}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 1}
  readinessGates: [{conditionType: example.com/balanced}]";
    cluster.apply(&pod("gated", "touch /tmp/ok; sleep 1000", probe, 0)).ok();
    let condition =
        |name: &str, what: &str| field(&cluster, "gated", &format!(".status.conditions[?(@.type==\"{name}\")].{what}"));
    eventually("its containers are ready", 30, || condition("ContainersReady", "status") == "True");
    assert_eq!(
        (condition("Ready", "status"), condition("Ready", "reason")),
        ("False".to_owned(), "ReadinessGatesNotReady".to_owned())
    );
    let patch = "{\"status\": {\"conditions\": [{\"type\": \"example.com/balanced\", \"status\": \"True\"}]}}";
    cluster.kubectl(&["patch", "pod", "gated", "--subresource=status", "-p", patch]).ok();
    eventually("an open gate makes it ready", 30, || is_ready(&cluster, "gated"));
    run(&cluster, "gated", "rm /tmp/ok");
    eventually("the probe still counts", 30, || !is_ready(&cluster, "gated"));
    run(&cluster, "gated", "touch /tmp/ok");
    eventually("the gate is still open", 30, || is_ready(&cluster, "gated"));
}

#[test]
fn an_update_that_never_becomes_ready_leaves_the_old_pods() {
    let cluster = Cluster::start();
    let web = |path: &str| {
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: '{DEMO}'
        readinessProbe: {{httpGet: {{path: {path}, port: 8080}}, periodSeconds: 1}}
"
        )
    };
    cluster.apply(&web("/")).ok();
    cluster.k("rollout status deployment/web --timeout=60s").ok();
    cluster.apply(&web("/missing")).ok();
    cluster.k("rollout status deployment/web --timeout=5s").fails("timed out");
    let path = "jsonpath={.status.readyReplicas} {.status.updatedReplicas} {.status.replicas}";
    eventually("one new pod waits beside the old ones", 30, || {
        cluster.kubectl(&["get", "deployment", "web", "-o", path]).out == "2 1 3"
    });
    cluster.apply(&web("/index.html")).ok();
    cluster.k("rollout status deployment/web --timeout=60s").ok();
}

#[test]
fn a_container_finds_services_by_its_variables() {
    let cluster = Cluster::start();
    let service = "apiVersion: v1
kind: Service
metadata: {name: my-web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
";
    cluster.apply(service).ok();
    let address = cluster.k("get service my-web -o jsonpath={.spec.clusterIP}").ok().to_owned();
    let unlinked = pod("unlinked", "sleep 1000", "tty: false\n  enableServiceLinks: false", 0);
    cluster.apply(&(pod("linked", "sleep 1000", "tty: false", 0) + &unlinked)).ok();
    eventually("both run", 30, || is_ready(&cluster, "linked") && is_ready(&cluster, "unlinked"));
    let linked = cluster.k("exec linked -- env").ok().to_owned();
    for line in [
        format!("MY_WEB_SERVICE_HOST={address}"),
        "MY_WEB_SERVICE_PORT_HTTP=80".to_owned(),
        format!("MY_WEB_PORT_80_TCP=tcp://{address}:80"),
        "KUBERNETES_SERVICE_PORT=443".to_owned(),
    ] {
        assert!(linked.lines().any(|one| one == line), "wanted {line} in\n{linked}");
    }
    let unlinked = cluster.k("exec unlinked -- env").ok().to_owned();
    assert!(unlinked.contains("KUBERNETES_SERVICE_HOST=") && !unlinked.contains("MY_WEB"), "{unlinked}");
}
