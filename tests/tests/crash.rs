//! kill -9 of everything: nothing acknowledged is lost, and pods do not notice.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::cluster::{Cluster, DEMO};
use tests::program::eventually;

/// Tries of one writer; most fail at once while the server is away.
const WRITES_MAX: usize = 2000;

#[test]
fn a_killed_server_has_every_acknowledged_write() {
    let cluster = Cluster::start();
    let (acknowledged, done) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (cluster, acknowledged, done) = (&cluster, &acknowledged, &done);
            scope.spawn(move || {
                for index in 0..WRITES_MAX {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("map-{writer}-{index}");
                    let said = cluster.k(&format!("create configmap {name} --from-literal=a={index}"));
                    if said.code == 0 {
                        acknowledged.lock().unwrap().push(name);
                    }
                }
            });
        }
        for _ in 0..3 {
            let before = acknowledged.lock().unwrap().len();
            eventually("some writes are acknowledged", 60, || acknowledged.lock().unwrap().len() > before + 8);
            cluster.kill_9("server");
            eventually("the server is back", 30, || cluster.k("get --raw /readyz").code == 0);
        }
        done.store(true, Ordering::Relaxed);
    });
    let found = cluster.k("get configmaps -o name").ok().to_owned();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 24, "three rounds of nine");
    for name in acknowledged {
        assert!(found.lines().any(|line| line == format!("configmap/{name}")), "{name} is lost");
    }
}

#[test]
fn a_killed_agent_leaves_its_pods_and_learns_what_it_missed() {
    let mut cluster = Cluster::start();
    cluster.kubectl(&["run", "stays", &format!("--image={DEMO}")]).ok();
    let line = "until test -e /tmp/end; do sleep 0.1; done; exit 42";
    cluster
        .kubectl(&["run", "ends", &format!("--image={DEMO}"), "--restart=Never", "--command", "--", "sh", "-c", line])
        .ok();
    cluster.k("wait pod stays ends --for=condition=Ready --timeout=60s").ok();
    let before = cluster.container_pids("httpd");
    assert_eq!(before.len(), 1);
    let ending = cluster.container_pids("sh");
    assert_eq!(ending.len(), 1);
    // The whole of it is stopped, so that nothing starts the agent again before the container ended.
    cluster.kill_9("agent");
    cluster.stop_up();
    std::fs::write(format!("/proc/{}/root/tmp/end", ending[0]), "").unwrap();
    eventually("the container ended", 30, || cluster.container_pids("sh").is_empty());
    assert_eq!(cluster.container_pids("httpd"), before);
    cluster.up();
    cluster.wait_ready();
    eventually("the exit code is known", 30, || {
        cluster.k("get pod ends -o jsonpath={.status.containerStatuses[0].state.terminated.exitCode}").out == "42"
    });
    cluster.k("get pod stays").shows("Running");
    assert_eq!(cluster.container_pids("httpd"), before);
    assert_eq!(cluster.k("get pod stays -o jsonpath={.status.containerStatuses[0].restartCount}").ok(), "0");
    cluster.k("delete pod stays ends --grace-period=1 --timeout=60s").ok();
    assert!(cluster.container_pids("httpd").is_empty());
}

#[test]
fn pods_go_on_while_the_server_is_away() {
    let cluster = Cluster::start();
    cluster.kubectl(&["run", "worker", &format!("--image={DEMO}")]).ok();
    cluster.k("wait pod worker --for=condition=Ready --timeout=60s").ok();
    let address = cluster.k("get pod worker -o jsonpath={.status.podIP}").ok().to_owned();
    let first = cluster.container_pids("httpd");
    let up = cluster.pid("up").unwrap();
    // Stopped, the supervisor starts nothing again.
    nix::sys::signal::kill(up, nix::sys::signal::Signal::SIGSTOP).unwrap();
    cluster.kill_9("server");
    cluster.http(&format!("http://{address}:8080/")).shows("Hello");
    nix::sys::signal::kill(first[0], nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("a dead container is restarted without the server", 30, || {
        let now = cluster.container_pids("httpd");
        now.len() == 1 && now != first
    });
    nix::sys::signal::kill(up, nix::sys::signal::Signal::SIGCONT).unwrap();
    eventually("the server hears of the restart", 60, || {
        cluster.k("get pod worker -o jsonpath={.status.containerStatuses[0].restartCount}").out == "1"
    });
}

#[test]
fn a_stopped_agent_ends_its_pods_and_stays_stopped() {
    let cluster = Cluster::start();
    cluster.kubectl(&["run", "worker", &format!("--image={DEMO}")]).ok();
    cluster.k("wait pod worker --for=condition=Ready --timeout=60s").ok();
    let first = cluster.pid("agent").unwrap();
    cluster.agent(&["stop"]).ok();
    assert!(cluster.container_pids("").is_empty());
    eventually("the agent is gone", 30, || nix::sys::signal::kill(first, None).is_err());
    assert!(cluster.log().contains("ended as asked"), "{}", cluster.log());
    assert!(cluster.pid("agent").is_none());
    cluster.k("get --raw /readyz").shows("ok");
}
