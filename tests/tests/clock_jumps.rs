//! A machine without a battery for its clock: it starts in 1970, or in whatever year its clock thinks it is, and a time
//! server sets it by decades while everything runs. The clock is that of an emulated machine.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use tests::cluster::DEMO;
use tests::guest::{DATA, Guest};
use tests::program::{Said, built};

/// What is timed: a Job with a deadline, one that is removed a while after its end, a request that nobody signs.
const TIMED: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: lasts}
spec:
  activeDeadlineSeconds: 7200
  template: {spec: {restartPolicy: Never, terminationGracePeriodSeconds: 1, containers: [
    {name: c, image: IMAGE, command: [sleep, "100000"]}]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: done}
spec:
  ttlSecondsAfterFinished: 7200
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: IMAGE, command: ["true"]}]}}
---
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: waits}
spec:
  signerName: example.com/somebody
  usages: [client auth]
  request: REQUEST
"#;

/// A request for a certificate, as somebody would make it.
fn request(folder: &Path) -> String {
    let file = folder.join("request");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-subj", "/CN=somebody", "-keyout", "/dev/null", "-out"]).arg(&file);
    Said::by(&mut openssl).ok();
    base64::engine::general_purpose::STANDARD.encode(fs::read(file).unwrap())
}

/// What must hold whatever the year is.
const LOOK: &str = r#"
look() {
    date "+== %Y"
    await "the API in $1" kubectl get --raw /readyz
    await "a Ready node in $1" sh -c 'kubectl get nodes | grep -w Ready'
    kubectl run "in-$1" --image=IMAGE --image-pull-policy=Never --restart=Never --command -- true
    await "a new pod in $1" sh -c "kubectl get pod in-$1 | grep Completed"
    kubectl get job lasts done -o name
    kubectl get csr waits -o name
    kubectl get pod demo -o 'jsonpath={.status.containerStatuses[0].restartCount} restarts{"\n"}'
    [ "$(kubectl get pod demo -o 'jsonpath={.status.containerStatuses[0].containerID}')" = "$id" ]
    await "a token of the pod in $1" sh -c 'kubectl --kubeconfig=/dev/null --server=https://127.0.0.1:6443 \
        --insecure-skip-tls-verify --token="$(kubectl exec demo -- cat /var/run/secrets/kubernetes.io/serviceaccount/token)" \
        auth whoami </dev/null | grep system:serviceaccount:default:default'
}
restarts() { kubectl get pod crashes -o 'jsonpath={.status.containerStatuses[0].restartCount}'; }
more_restarts() { [ "$(restarts)" -gt "$before" ]; }
"#;

#[test]
fn a_clock_that_is_set_by_decades_both_ways_stops_nothing_and_locks_nobody_out() {
    let guest = Guest::node();
    let folder = tempfile::tempdir().unwrap();
    let timed = TIMED.replace("IMAGE", DEMO).replace("REQUEST", &request(folder.path()));
    fs::write(folder.path().join("timed.yaml"), timed).unwrap();
    guest.copy(&folder.path().join("timed.yaml"), "/timed.yaml");
    let start = Guest::start_script();
    let shown = guest.run(
        &format!(
            r#"date -s '1970-01-01 00:01:00'
            {start}
            {LOOK}
            kubectl run demo --image={DEMO} --image-pull-policy=Never
            kubectl apply -f /timed.yaml
            kubectl wait --for=condition=Ready pod/demo --timeout=90s
            kubectl wait --for=condition=Complete job/done --timeout=90s
            id=$(kubectl get pod demo -o 'jsonpath={{.status.containerStatuses[0].containerID}}')
            look 1970
            date -s '2027-03-04 05:06:07'
            look 2027
            date -s '2046-03-04 05:06:07'
            look 2046
            kill $(cat {DATA}/up.pid)
            await "the end of bramble up" sh -c '! test -e {DATA}/up.pid'
            {bramble} --data-dir {DATA} up >>/tmp/up.log 2>&1 &
            look again
            kubectl run crashes --image={DEMO} --image-pull-policy=Never --command -- sh -c 'exit 3'
            await "a pod that waits to be started again" sh -c 'kubectl get pod crashes | grep CrashLoopBackOff'
            before=$(restarts)
            date -s '2027-03-04 06:06:07'
            look back
            await "a restart of what crashes" more_restarts
            kubectl get events | grep -E 'Eviction|Deadline|NodeNotReady|Unhealthy' || echo 'nothing else was told'"#,
            LOOK = LOOK.replace("IMAGE", DEMO),
            bramble = built("bramble").display(),
        ),
        400,
    );
    assert_eq!(shown.matches("\n0 restarts\n").count(), 5, "{shown}");
    assert!(shown.contains("\nnothing else was told\n"), "{shown}");
}
