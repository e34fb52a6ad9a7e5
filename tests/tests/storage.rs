//! Volumes, Jobs and DaemonSets as a homelab uses them, on one machine.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs;

use tests::cluster::{Cluster, DEMO};
use tests::program::eventually;

const CLAIM: &str = "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
";

fn keeper() -> String {
    format!(
        "{CLAIM}---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: keeper}}
spec:
  selector: {{matchLabels: {{app: keeper}}}}
  strategy: {{type: Recreate}}
  template:
    metadata: {{labels: {{app: keeper}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: keeper
        image: {DEMO}
        volumeMounts: [{{name: data, mountPath: /keep}}]
      volumes:
      - {{name: data, persistentVolumeClaim: {{claimName: data}}}}
"
    )
}

fn job(name: &str, command: &str, more: &str) -> String {
    format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
{more}  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: main, image: '{DEMO}', command: [sh, -c, '{command}']}}
"
    )
}

#[test]
fn a_deployments_data_outlives_its_pods_and_goes_with_its_claim() {
    let cluster = Cluster::start();
    eventually("the class is there", 30, || cluster.k("get storageclass local-path").code == 0);
    cluster.k("get storageclass").shows("local-path (default)");
    cluster.apply(&keeper()).ok();
    cluster.k("rollout status deployment/keeper --timeout=90s").ok();
    cluster.kubectl(&["exec", "deploy/keeper", "--", "sh", "-c", "echo precious > /keep/file"]).ok();
    let first = cluster.k("get pods -l app=keeper -o jsonpath={.items[0].metadata.name}").ok().to_owned();
    cluster.k("rollout restart deployment/keeper").ok();
    cluster.k("rollout status deployment/keeper --timeout=90s").ok();
    assert_ne!(cluster.k("get pods -l app=keeper -o jsonpath={.items[0].metadata.name}").ok(), first);
    cluster.kubectl(&["exec", "deploy/keeper", "--", "cat", "/keep/file"]).shows("precious");

    let volume = cluster.k("get pvc data -o jsonpath={.spec.volumeName}").ok().to_owned();
    let folder = cluster.data().join("local-path").join(format!("{volume}_default_data"));
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap().trim(), "precious");
    cluster.k("delete pvc data --wait=false").ok();
    cluster.k("get pvc data").shows("Terminating");
    cluster.k("delete deployment keeper").ok();
    eventually("claim and volume are gone", 60, || {
        cluster.k("get pvc data").code != 0 && cluster.k(&format!("get pv {volume}")).code != 0
    });
    assert!(!folder.exists(), "the data is gone too");
}

#[test]
fn jobs_complete_count_their_indexes_and_fail_as_they_may() {
    let cluster = Cluster::start();
    cluster.apply(&job("sum", "exit 0", "  completions: 3\n  parallelism: 2\n")).ok();
    cluster
        .apply(&job(
            "parts",
            "echo part $JOB_COMPLETION_INDEX of $HOSTNAME",
            "  completions: 2\n  parallelism: 2\n  completionMode: Indexed\n",
        ))
        .ok();
    cluster.apply(&job("broken", "exit 3", "  backoffLimit: 0\n")).ok();
    cluster.k("wait --for=condition=complete job/sum job/parts --timeout=90s").ok();
    cluster.k("wait --for=condition=failed job/broken --timeout=90s").ok();
    cluster.k("get job sum").shows("3/3");
    let path = "jsonpath={.status.completedIndexes}";
    assert_eq!(cluster.kubectl(&["get", "job", "parts", "-o", path]).ok(), "0,1");
    cluster.k("logs -l batch.kubernetes.io/job-name=parts").shows("part 1");
    cluster.k("describe job broken").shows("BackoffLimitExceeded");
    cluster.k("delete job sum parts broken").ok();
    eventually("their pods are gone", 60, || cluster.k("get pods -o name").ok().is_empty());
}

#[test]
fn a_daemon_set_rolls_out_tells_its_history_and_is_undone() {
    let cluster = Cluster::start();
    let set = |greeting: &str| {
        format!(
            "apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: watcher}}
spec:
  selector: {{matchLabels: {{app: watcher}}}}
  template:
    metadata: {{labels: {{app: watcher}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: main, image: '{DEMO}', env: [{{name: GREETING, value: {greeting}}}]}}
"
        )
    };
    cluster.apply(&set("one")).ok();
    cluster.k("rollout status daemonset/watcher --timeout=90s").ok();
    cluster.apply(&set("two")).ok();
    cluster.k("rollout status daemonset/watcher --timeout=90s").ok();
    let greeting = "jsonpath={.items[0].spec.containers[0].env[0].value}";
    assert_eq!(cluster.kubectl(&["get", "pods", "-l", "app=watcher", "-o", greeting]).ok(), "two");
    cluster.k("rollout history daemonset/watcher").shows("2");
    cluster.k("rollout undo daemonset/watcher").ok();
    cluster.k("rollout status daemonset/watcher --timeout=90s").ok();
    assert_eq!(cluster.kubectl(&["get", "pods", "-l", "app=watcher", "-o", greeting]).ok(), "one");
    cluster.k("rollout restart daemonset/watcher").ok();
    cluster.k("rollout status daemonset/watcher --timeout=90s").ok();
    cluster.k("get daemonset watcher").shows("watcher");
}
