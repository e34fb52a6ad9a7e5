//! What pods leave on their node, and what is left of it once they are over.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs;

use tests::belongings::{count, leaked};
use tests::cluster::{Cluster, DEMO};
use tests::program::eventually;
use tests::tended::Tended;

/// With volumes of two kinds, one of which is a mount.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  containers:
    - name: c
      image: bramble.local/demo:1
      volumeMounts: [{name: m, mountPath: /m}, {name: t, mountPath: /t}]
  volumes:
    - {name: m, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
    - {name: t, emptyDir: {}}
"#;

#[test]
fn a_pod_that_was_deleted_by_force_while_its_agent_was_away_leaves_nothing_behind() {
    let mut cluster = Cluster::start();
    cluster.stop_up();
    let mut tended = Tended::start(&cluster);
    let run = |name: &str| {
        cluster.apply(&POD.replace("NAME", name)).ok();
        cluster.k(&format!("wait pod {name} --for=condition=Ready --timeout=60s")).ok();
    };
    // The first makes what is shared by all.
    run("first");
    cluster.k("delete pod first --grace-period=1 --timeout=60s").ok();
    let before = count(&cluster);
    // One is known to the agent that comes back; of the other, the agent was killed as it had begun to remove it.
    for (name, is_known) in [("known", true), ("begun", false)] {
        run(name);
        assert!(leaked(&before, &count(&cluster)).len() > 5, "{name} takes something");
        tended.kill_agent();
        cluster.k(&format!("delete pod {name} --force --grace-period=0 --timeout=60s")).ok();
        if !is_known {
            fs::remove_file(cluster.data().join(format!("agent/cache/pods/default/{name}.json"))).unwrap();
            // As after a power cut, whose containers nobody finds any more.
            for pid in cluster.container_pids("") {
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            }
        }
        tended.tend();
        let mut left = Vec::new();
        for _ in 0..600 {
            left = leaked(&before, &count(&cluster));
            if left.is_empty() {
                break;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        assert!(left.is_empty(), "left of {name}:\n{}", left.join("\n"));
    }
}

#[test]
fn of_a_container_that_crashes_again_and_again_the_last_two_logs_are_kept() {
    let cluster = Cluster::start();
    let line = "echo this is start $(date +%s%N); exit 1";
    cluster.kubectl(&["run", "crashes", &format!("--image={DEMO}"), "--command", "--", "sh", "-c", line]).ok();
    let started = |count: u32| {
        eventually(&format!("restart {count}"), 60, || {
            cluster.k("get pod crashes -o jsonpath={.status.containerStatuses[0].restartCount}").out
                == count.to_string()
        });
    };
    started(1);
    let second = cluster.k("logs crashes").ok().to_owned();
    started(2);
    let logs = || {
        let folder =
            fs::read_dir(cluster.data().join("logs")).unwrap().flatten().next().unwrap().path().join("crashes");
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    eventually("the first log is gone", 10, || logs() == ["1.log", "2.log"]);
    assert_eq!(cluster.k("logs crashes --previous").ok(), second);
    assert!(cluster.k("logs crashes").shows("this is start") != second);
}
