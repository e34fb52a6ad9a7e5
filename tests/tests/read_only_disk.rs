//! An SD card that the kernel makes read-only amid work, as it does with one that is about to fail, and that takes writes again.
//! The disk is that of an emulated machine, whose kernel does so when it is asked to.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::process::Command;

use tests::cluster::DEMO;
use tests::guest::Guest;
use tests::program::Said;

const DISK_BYTES: u64 = 1 << 30;

#[test]
fn a_disk_that_becomes_read_only_refuses_writes_stops_no_pod_and_needs_no_help_afterwards() {
    let mut guest = Guest::node();
    guest.install_modules(&["virtio_pci", "virtio_blk"]);
    let disk = guest.plug_disk(DISK_BYTES);
    let mut make = Command::new("mke2fs");
    Said::by(make.args(["-q", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard"]).arg(&disk)).ok();
    let start = Guest::start_script();
    let shown = guest.run(
        &format!(
            r#"modprobe virtio_pci
            modprobe virtio_blk
            mkdir -p /var/lib/bramble
            mount -t ext4 /dev/vda /var/lib/bramble
            {start}
            kubectl run first --image={DEMO} --image-pull-policy=Never
            kubectl wait --for=condition=Ready pod/first --timeout=90s
            id() {{ kubectl get pod first -o 'jsonpath={{.status.containerStatuses[0].containerID}}'; }}
            before=$(id)
            kubectl create configmap kept --from-literal=a=b
            # Of the kernel's emergency keys the one that makes every disk read-only.
            echo u >/proc/sysrq-trigger
            await "a read-only disk" grep -E ' /var/lib/bramble ext4 ro' /proc/mounts
            ! kubectl create configmap refused --from-literal=a=b 2>/tmp/refused
            cat /tmp/refused
            kubectl get configmap kept
            ip=$(kubectl get pod first -o 'jsonpath={{.status.podIP}}')
            printf 'GET / HTTP/1.0\r\n\r\n' | nc $ip 8080
            kubectl get pod first
            kubectl logs first
            kubectl get node
            mount -o remount,rw /var/lib/bramble
            await "writes are taken again" kubectl create configmap after --from-literal=a=b
            kubectl get configmap kept after
            kubectl get configmap refused 2>/dev/null && echo "what was refused is there"
            await "a Ready node" sh -c 'kubectl get nodes | grep -w Ready'
            kubectl run second --image={DEMO} --image-pull-policy=Never
            kubectl wait --for=condition=Ready pod/second --timeout=90s
            [ "$(id)" = "$before" ]
            echo "the first pod is $(kubectl get pod first -o 'jsonpath={{.status.phase}} after {{.status.containerStatuses[0].restartCount}} restarts')""#,
        ),
        300,
    );
    assert!(shown.contains("Read-only file system"), "the client is told why:\n{shown}");
    assert!(shown.contains("Hello from a bramble."), "the pod serves:\n{shown}");
    assert!(shown.contains("the first pod is Running after 0 restarts"), "{shown}");
    assert!(!shown.contains("what was refused is there"), "{shown}");
}
