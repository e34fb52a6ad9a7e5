//! Limits of a container, as its processes meet them, on whichever cgroup version the machine has.

use agent_runtime::Resources;

use crate::node::Node;

fn is_unified() -> bool {
    std::fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap()
}

#[tokio::test]
async fn no_more_processes_than_allowed() {
    let mut node = Node::with_pod().await;
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done 2>/dev/null; echo too many";
    let mut spec = node.shell("one", script);
    spec.resources.pids_limit = Some(5);
    let (ended, log) = node.run(spec).await;
    assert_ne!(ended.exit.exit_code, 0);
    assert_eq!(log, Vec::<String>::new());
}

#[tokio::test]
async fn a_container_reads_its_own_limits() {
    let mut node = Node::with_pod().await;
    let files = if is_unified() {
        ["cpu.max", "cpu.weight", "memory.max", "pids.max"]
    } else {
        ["cpu/cpu.cfs_quota_us", "cpu/cpu.shares", "memory/memory.limit_in_bytes", "pids/pids.max"]
    };
    let mut spec = node.shell("one", &format!("cd /sys/fs/cgroup && cat {}", files.join(" ")));
    spec.resources = Resources {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        memory_limit_bytes: Some(32 << 20),
        pids_limit: Some(77),
    };
    let (_, log) = node.run(spec).await;
    let cpu = if is_unified() { ["50000 100000", "59"] } else { ["50000", "512"] };
    assert_eq!(log, [cpu[0], cpu[1], "33554432", "77"]);
}

/// As Kubernetes has it on cgroup v2; v1 knows only single processes.
#[tokio::test]
async fn a_container_that_lacks_memory_dies_as_a_whole_where_the_kernel_can_do_it() {
    let mut node = Node::with_pod().await;
    let mut spec = node.shell("one", "tail /dev/zero; echo survived");
    spec.resources.memory_limit_bytes = Some(16 << 20);
    let (ended, log) = node.run(spec).await;
    assert!(ended.exit.oom_killed);
    if is_unified() {
        assert_eq!((ended.exit.exit_code, log.len()), (137, 0));
    } else {
        // The shell tells of the kill on stderr, which has no order with stdout.
        assert_eq!(ended.exit.exit_code, 0);
        assert!(log.iter().any(|line| line == "survived"), "{log:?}");
    }
}
