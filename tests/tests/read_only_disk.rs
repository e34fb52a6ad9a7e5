//! An SD card that the kernel makes read-only amid work, since it finds it damaged. The disk is that of an emulated
//! machine, whose file system is told that it has found an error.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use tests::cluster::DEMO;
use tests::guest::{DATA, Guest};

const DISK_BYTES: u64 = 1 << 30;

#[test]
fn a_disk_that_becomes_read_only_refuses_writes_stops_no_pod_and_a_start_with_it_mended_needs_no_help() {
    let mut guest = Guest::node();
    let mount = guest.plug_file_system(DISK_BYTES, DATA);
    let start = Guest::start_script();
    let shown = guest.run(
        &format!(
            r#"{mount}
            mount -o remount,errors=remount-ro {DATA}
            {start}
            kubectl run first --image={DEMO} --image-pull-policy=Never
            kubectl wait --for=condition=Ready pod/first --timeout=240s
            kubectl create configmap kept --from-literal=a=b
            echo 1 >/sys/fs/ext4/vda/trigger_fs_error
            ! kubectl create configmap refused --from-literal=a=b 2>/tmp/refused
            cat /tmp/refused
            kubectl get configmap kept
            kubectl get configmap refused 2>/dev/null && echo "what was refused is there"
            ip=$(kubectl get pod first -o 'jsonpath={{.status.podIP}}')
            printf 'GET / HTTP/1.0\r\n\r\n' | nc $ip 8080
            kubectl logs first
            kubectl get node
            ! kubectl create configmap again --from-literal=a=b
            echo "the first pod is $(kubectl get pod first -o 'jsonpath={{.status.phase}} after {{.status.containerStatuses[0].restartCount}} restarts')""#,
        ),
        300,
    );
    assert!(shown.contains("Read-only file system"), "the client is told why:\n{shown}");
    assert!(shown.contains("Hello from a bramble."), "the pod serves:\n{shown}");
    assert!(shown.contains("the first pod is Running after 0 restarts"), "{shown}");
    assert!(!shown.contains("what was refused is there"), "{shown}");
    let shown = guest.run(
        &format!(
            r#"{mount}
            {start}
            kubectl get configmap kept
            kubectl wait --for=condition=Ready pod/first --timeout=240s
            kubectl create configmap after --from-literal=a=b
            kubectl run second --image={DEMO} --image-pull-policy=Never
            kubectl wait --for=condition=Ready pod/second --timeout=240s"#,
        ),
        300,
    );
    assert!(shown.contains("pod/second condition met"), "{shown}");
}
