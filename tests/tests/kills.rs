//! kill -9 of whatever runs while pods come and go: exit codes as promised, and nothing stays behind.
//!
//! `scripts/kill-rounds` does more rounds and cycles than the few that are made by default.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::belongings::{Belongings, count, leaked};
use tests::cluster::{Cluster, DEMO};
use tests::luck::{Luck, seed, setting};
use tests::process::Processes;
use tests::program::{Said, eventually};
use tests::tended::Tended;

const ROUNDS: u64 = 50;
const CYCLES: u64 = 20;

/// With all that a pod can hold: volumes of three kinds, a port on the node, a Service of its own.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: bramble.local/demo:1
      command: [sh, -c, "trap 'exit 0' TERM; COMMAND"]
      ports: [{containerPort: 8080, hostPort: PORT}]
      readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
      volumeMounts: [{name: m, mountPath: /m}, {name: c, mountPath: /c}, {name: t, mountPath: /t}]
  volumes:
    - {name: m, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
    - {name: t, emptyDir: {}}
    - {name: c, configMap: {name: kube-root-ca.crt}}
"#;
const SERVICE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: NAME, labels: {app: NAME}}
spec: {selector: {app: NAME}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// Ports on the node, so that a pod need not wait for those that are on their way out.
const PORTS: u64 = 16;

/// One pod and its Service.
struct Guinea {
    name: String,
    pod: String,
    service: String,
}

impl Guinea {
    fn new(number: u64, command: &str) -> Self {
        let (name, port) = (format!("p{number}"), (18080 + number % PORTS).to_string());
        let pod = POD.replace("NAME", &name).replace("COMMAND", command).replace("PORT", &port);
        Self { pod, service: SERVICE.replace("NAME", &name), name }
    }

    fn create(&self, cluster: &Cluster) {
        for (resource, object) in [("pods", &self.pod), ("services", &self.service)] {
            ask(cluster, resource, &["-H", "Content-Type: application/yaml", "--data-binary", object]).ok();
        }
    }

    /// None until the container has ended.
    fn exit_code(&self, cluster: &Cluster) -> Option<u64> {
        let said = ask(cluster, &format!("pods/{}", self.name), &[]);
        let pod: serde_json::Value = serde_json::from_str(&said.out).ok()?;
        pod.pointer("/status/containerStatuses/0/state/terminated/exitCode")?.as_u64()
    }

    /// Does not wait for its end.
    fn delete(&self, cluster: &Cluster) {
        for resource in ["pods", "services"] {
            ask(cluster, &format!("{resource}/{}", self.name), &["-X", "DELETE"]).ok();
        }
    }
}

/// The API without kubectl, which would take most of the time.
fn ask(cluster: &Cluster, path: &str, arguments: &[&str]) -> Said {
    let url = format!("https://127.0.0.1:6443/api/v1/namespaces/default/{path}");
    let mut curl = cluster.namespace.command(Path::new("curl"));
    curl.args(["-sS", "--fail-with-body", "-k", "-m", "60", "-H", "Authorization: Bearer an-administrators-token"]);
    Said::by(curl.args(arguments).arg(url))
}

/// Everything that was not there before goes in time: what every node is told is written, and removed, half a minute
/// late.
fn nothing_leaked(cluster: &Cluster, before: &Belongings) {
    let until = Instant::now() + Duration::from_secs(70);
    let now = || leaked(before, &count(cluster));
    let mut left = now();
    while !left.is_empty() && Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(200));
        left = now();
    }
    assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
}

/// One whose administrator has a token.
fn start() -> Cluster {
    Cluster::configured("tokenFile: DIR/tokens\n")
}

fn all_are_gone(cluster: &Cluster) {
    eventually("all others are gone", 60, || {
        let said = cluster.k("get pods,services -l app -o name");
        said.code == 0 && said.out.is_empty()
    });
}

#[test]
fn pods_that_come_and_go_leave_nothing_behind() {
    let cluster = start();
    let cycle = |number: u64| {
        let guinea = Guinea::new(number, "sleep 1000 & wait");
        guinea.create(&cluster);
        cluster.k(&format!("wait pod {} --for=condition=Ready --timeout=60s", guinea.name)).ok();
        guinea.delete(&cluster);
        cluster.k(&format!("wait pod {} --for=delete --timeout=60s", guinea.name)).ok();
    };
    // The first makes what is shared by all.
    cycle(0);
    let before = count(&cluster);
    assert!(before["cgroups"].len() > 1 && before["rules"].len() > 10, "{before:?}");
    for number in 1..=setting("BRAMBLE_CYCLES", CYCLES) {
        cycle(number);
    }
    nothing_leaked(&cluster, &before);
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Server,
    Agent,
    /// Of the round's pod.
    Shim,
    /// Whatever creates or enters a container at the moment, if anything does.
    Worker,
    Everything,
}

/// The shim that is an ancestor of `pid`.
fn shim_of(processes: &Processes, pid: i32) -> Option<i32> {
    let mut at = processes.get(&pid)?.parent;
    while let Some(process) = processes.get(&at) {
        if process.name.starts_with("bramble-shim") {
            return Some(at);
        }
        at = process.parent;
    }
    None
}

fn strike(tended: &mut Tended, victim: Victim, stays: i32) {
    let shoot = |pid: i32| {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    };
    let data = tended.cluster().data().display().to_string();
    let processes = Processes::now();
    let kept = shim_of(&processes, stays);
    let shims = || {
        let ours = |process: &tests::process::Process| {
            process.arguments.starts_with("bramble-shim ") && process.arguments.contains(&data)
        };
        processes.iter().filter(move |(pid, process)| ours(process) && Some(**pid) != kept)
    };
    let is_shim = |pid: i32| {
        !processes.get(&processes[&pid].parent).is_some_and(|parent| parent.name.starts_with("bramble-shim"))
    };
    match victim {
        Victim::Server => tended.kill_server(),
        Victim::Agent => tended.kill_agent(),
        Victim::Shim => shims().filter(|(pid, _)| is_shim(**pid)).for_each(|(pid, _)| shoot(*pid)),
        Victim::Worker => shims().filter(|(pid, _)| !is_shim(**pid)).for_each(|(pid, _)| shoot(*pid)),
        Victim::Everything => {
            tended.kill_server();
            tended.kill_agent();
            shims().for_each(|(pid, _)| shoot(*pid));
        }
    }
}

#[test]
fn a_pod_whose_shim_is_killed_starts_anew() {
    let cluster = Cluster::start();
    cluster.kubectl(&["run", "web", &format!("--image={DEMO}")]).ok();
    cluster.k("wait pod web --for=condition=Ready --timeout=60s").ok();
    let pid = cluster.container_pids("httpd")[0].as_raw();
    let shim = shim_of(&Processes::now(), pid).unwrap();
    kill(Pid::from_raw(shim), Signal::SIGKILL).unwrap();
    let field = |path: &str| cluster.k(&format!("get pod web -o jsonpath={{.status.containerStatuses[0].{path}}}")).out;
    eventually("the container runs again", 60, || field("restartCount") == "1" && field("ready") == "true");
    assert_eq!(field("lastState.terminated.exitCode"), "137");
}

/// One kill amid a pod's life, while those of the rounds before may be on their way out.
fn round(tended: &mut Tended, luck: &mut Luck, number: u64, stays: &[Pid]) {
    let cluster = tended.cluster();
    let victim = *luck.pick(&[Victim::Server, Victim::Agent, Victim::Shim, Victim::Worker, Victim::Everything]);
    let code = 1 + luck.below(120);
    let guinea = Guinea::new(number, &format!("sleep 0.{}; exit {code}", luck.below(8)));
    guinea.create(cluster);
    pause(luck.below(900));
    strike(tended, victim, stays[0].as_raw());
    pause(luck.below(500));
    tended.tend();
    let (mut ended, begun) = (None, Instant::now());
    eventually(&format!("round {number}: the pod ends although {victim:?} was killed"), 60, || {
        ended = guinea.exit_code(cluster);
        ended.is_some()
    });
    println!("round {number}: {victim:?} was killed, {ended:?} known after {} ms", begun.elapsed().as_millis());
    // Who loses its parent is ended by the kernel or the agent, unless it had ended before.
    let lost = matches!(victim, Victim::Shim | Victim::Worker | Victim::Everything);
    assert!(ended == Some(code) || lost && ended != Some(0), "round {number}, {victim:?}: {ended:?} is not {code}");
    assert_eq!(cluster.container_pids("httpd"), stays, "round {number}: {victim:?}");
    guinea.delete(cluster);
}

fn pause(milliseconds: u64) {
    std::thread::park_timeout(Duration::from_millis(milliseconds));
}

#[test]
fn whatever_is_killed_exit_codes_are_as_promised_and_nothing_stays_behind() {
    let mut luck = Luck::new(seed());
    let mut cluster = start();
    // `bramble up` would wait longer each time.
    cluster.stop_up();
    let mut tended = Tended::start(&cluster);
    cluster.kubectl(&["run", "stays", &format!("--image={DEMO}")]).ok();
    cluster.k("wait pod stays --for=condition=Ready --timeout=60s").ok();
    let first = Guinea::new(0, "exit 0");
    first.create(&cluster);
    eventually("the first pod ends", 60, || first.exit_code(&cluster) == Some(0));
    first.delete(&cluster);
    all_are_gone(&cluster);
    let stays = cluster.container_pids("httpd");
    assert_eq!(stays.len(), 1);
    let before = count(&cluster);
    for number in 1..=setting("BRAMBLE_KILL_ROUNDS", ROUNDS) {
        round(&mut tended, &mut luck, number, &stays);
    }
    let restarts = cluster.k("get pod stays -o jsonpath={.status.containerStatuses[0].restartCount}");
    assert_eq!(restarts.ok(), "0");
    eventually("the node is Ready", 60, || cluster.k("wait node --all --for=condition=Ready --timeout=5s").code == 0);
    all_are_gone(&cluster);
    nothing_leaked(&cluster, &before);
}
