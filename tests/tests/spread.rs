//! DaemonSets, Jobs and claims on a cluster of several machines.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use nix::sys::signal::Signal;
use tests::lab::Lab;
use tests::program::eventually;

const DAEMON: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "bramble.local/demo:1"}]}
"#;

const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: sums}
spec:
  completions: 6
  parallelism: 3
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "bramble.local/demo:1", command: [sh, -c, "wget -q -O /dev/null http://keeper/ && echo $JOB_COMPLETION_INDEX"]}]
"#;

const KEEPER: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: keeper}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: keeper}}
  template:
    metadata: {labels: {app: keeper}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: c
          image: bramble.local/demo:1
          command: [sh, -c, "echo $(date +%s%N) >> /data/starts; cp /data/starts /www/index.html; exec httpd -f -p 8080 -h /www"]
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: kept}}]
---
apiVersion: v1
kind: Service
metadata: {name: keeper}
spec: {selector: {app: keeper}, ports: [{port: 80, targetPort: 8080}]}
"#;

#[test]
fn daemons_follow_the_nodes_jobs_use_services_and_claims_stay_with_their_node() {
    let mut lab = Lab::start(2);
    lab.apply(DAEMON).ok();
    lab.apply(KEEPER).ok();
    lab.k("rollout status daemonset/everywhere --timeout=60s").ok();
    lab.k("rollout status deployment/keeper --timeout=60s").ok();
    let token = lab.token(&[]);
    lab.add_machine("n3", "192.168.78.13");
    lab.import_demo_on(2);
    lab.nodes[2].start_agent(&["--join", &token]);
    eventually("the new node has its daemon", 60, || lab.field("daemonset everywhere", "{.status.numberReady}") == "3");

    lab.apply(JOB).ok();
    lab.k("wait job sums --for=condition=Complete --timeout=60s").ok();
    assert_eq!(lab.field("job sums", "{.status.completedIndexes}"), "0-5");
    let nodes = lab.field("pods -l job-name=sums", "{.items[*].spec.nodeName}");
    assert!(nodes.split(' ').collect::<std::collections::BTreeSet<_>>().len() > 1, "{nodes}");

    // The data is where the claim's node is, and so are later pods.
    let node_of = |lab: &Lab| lab.field("pods -l app=keeper", "{.items[0].spec.nodeName}");
    let home = node_of(&lab);
    lab.k("delete pod -l app=keeper --wait").ok();
    eventually("another start is written beside the first", 60, || {
        let starts = lab.kubectl(&["exec", "deployment/keeper", "--", "cat", "/data/starts"]);
        starts.code == 0 && starts.out.lines().count() == 2
    });
    assert_eq!(node_of(&lab), home);

    // The claim is deleted while its node is away: the data goes when the node is back, and only then the volume.
    let at = lab.nodes.iter().position(|node| node.name == home).unwrap();
    let folder = lab.nodes[at].data().join("local-path");
    let kept = || std::fs::read_dir(&folder).is_ok_and(|entries| entries.count() > 0);
    assert!(kept());
    lab.k("scale deployment keeper --replicas=0").ok();
    lab.k("wait pod -l app=keeper --for=delete --timeout=60s").ok();
    lab.nodes[at].stop_agent(Signal::SIGTERM);
    lab.k("delete pvc kept --wait=false").ok();
    eventually("the volume waits for its node", 60, || {
        !lab.field("pv", "{.items[*].metadata.deletionTimestamp}").is_empty() && lab.k("get pvc kept").code != 0
    });
    assert!(kept());
    lab.nodes[at].start_agent(&[]);
    eventually("the volume and its data are gone", 60, || {
        lab.field("pv", "{.items[*].metadata.name}").is_empty() && !kept()
    });
}
