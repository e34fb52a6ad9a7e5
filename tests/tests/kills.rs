//! kill -9 of whatever runs while pods come and go: exit codes as promised, and nothing stays behind.
//!
//! `scripts/kill-rounds` does more rounds and cycles than the few that are made by default.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::belongings::{Belongings, count, leaked};
use tests::cluster::{Cluster, DEMO};
use tests::luck::{Luck, seed, setting};
use tests::process::Processes;
use tests::program::eventually;
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
---
apiVersion: v1
kind: Service
metadata: {name: NAME, labels: {app: NAME}}
spec: {selector: {app: NAME}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// Pods of so many rounds are deleted together: kubectl is what takes most of the time.
const TOGETHER: usize = 3;
/// Ports on the node, so that a pod need not wait for those that are on their way out.
const PORTS: u64 = 16;

fn pod(number: u64, command: &str) -> (String, String) {
    let (name, port) = (format!("p{number}"), 18080 + number % PORTS);
    let manifest = POD.replace("NAME", &name).replace("COMMAND", command).replace("PORT", &port.to_string());
    (name, manifest)
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

fn remove(cluster: &Cluster, name: &str) {
    // Again where the server was killed in its midst; a webhook's or a controller's turn is not waited for.
    eventually("the pod and its Service go", 60, || {
        let arguments = ["delete", "pod,service", name, "--ignore-not-found", "--timeout=40s"];
        cluster.kubectl(&arguments).code == 0
    });
}

#[test]
fn pods_that_come_and_go_leave_nothing_behind() {
    let cluster = Cluster::start();
    let cycle = |number: u64| {
        let (name, manifest) = pod(number, "sleep 1000 & wait");
        cluster.apply(&manifest).ok();
        cluster.k(&format!("wait pod {name} --for=condition=Ready --timeout=60s")).ok();
        remove(&cluster, &name);
    };
    // The first makes what is shared by all.
    cycle(0);
    cluster.k("get --raw /readyz").ok();
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

/// One kill amid a pod's life, while those of the rounds before may be on their way out. Gives the pod's name.
fn round(tended: &mut Tended, luck: &mut Luck, number: u64, stays: &[Pid]) -> String {
    let cluster = tended.cluster();
    let victim = *luck.pick(&[Victim::Server, Victim::Agent, Victim::Shim, Victim::Worker, Victim::Everything]);
    let code = 1 + luck.below(120);
    let (name, manifest) = pod(number, &format!("sleep 0.{}; exit {code}", luck.below(8)));
    cluster.apply(&manifest).ok();
    pause(luck.below(600));
    strike(tended, victim, stays[0].as_raw());
    pause(luck.below(300));
    tended.tend();
    let mut ended = String::new();
    eventually(&format!("round {number}: the pod ends although {victim:?} was killed"), 60, || {
        let path = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
        ended = cluster.kubectl(&["get", "pod", &name, "-o", path]).out;
        !ended.is_empty()
    });
    // Who loses its parent is ended by the kernel or the agent, unless it had ended before.
    let lost = matches!(victim, Victim::Shim | Victim::Worker | Victim::Everything);
    assert!(ended == code.to_string() || lost && ended != "0", "round {number}, {victim:?}: {ended} is not {code}");
    assert_eq!(cluster.container_pids("httpd"), stays, "round {number}: {victim:?}");
    name
}

fn pause(milliseconds: u64) {
    std::thread::park_timeout(Duration::from_millis(milliseconds));
}

#[test]
fn whatever_is_killed_exit_codes_are_as_promised_and_nothing_stays_behind() {
    let mut luck = Luck::new(seed());
    let mut cluster = Cluster::start();
    // `bramble up` would wait longer each time.
    cluster.stop_up();
    let mut tended = Tended::start(&cluster);
    cluster.kubectl(&["run", "stays", &format!("--image={DEMO}")]).ok();
    cluster.k("wait pod stays --for=condition=Ready --timeout=60s").ok();
    let (first, manifest) = pod(0, "exit 0");
    cluster.apply(&manifest).ok();
    cluster.k(&format!("wait pod {first} --for=jsonpath={{.status.phase}}=Succeeded --timeout=60s")).ok();
    remove(&cluster, &first);
    let stays = cluster.container_pids("httpd");
    assert_eq!(stays.len(), 1);
    let before = count(&cluster);
    let mut over = Vec::new();
    let delete = |names: Vec<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        cluster.kubectl(&[&["delete", "pod,service", "--wait=false"], &names[..]].concat()).ok();
    };
    for number in 1..=setting("BRAMBLE_KILL_ROUNDS", ROUNDS) {
        over.push(round(&mut tended, &mut luck, number, &stays));
        if over.len() == TOGETHER {
            delete(std::mem::take(&mut over));
        }
    }
    if !over.is_empty() {
        delete(over);
    }
    let restarts = cluster.k("get pod stays -o jsonpath={.status.containerStatuses[0].restartCount}");
    assert_eq!(restarts.ok(), "0");
    eventually("the node is Ready", 60, || cluster.k("wait node --all --for=condition=Ready --timeout=5s").code == 0);
    eventually("all others are gone", 60, || cluster.k("get pods,services -l app -o name").ok().is_empty());
    nothing_leaked(&cluster, &before);
}
