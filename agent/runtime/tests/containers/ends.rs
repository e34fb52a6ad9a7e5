//! Ends: of containers by memory and signals, of the agent, of the shim, and of all that was made.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_runtime::{ContainerState, Resources, Runtime};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::node::{LIMIT, Node, POD, config, texts};

/// Waits for a condition that no event tells of.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

fn is_alive(pid: u32) -> bool {
    // A zombie has no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[tokio::test]
async fn more_memory_than_allowed_is_an_oom_kill() {
    let mut node = Node::with_pod().await;
    let mut spec = node.shell("one", "exec tail /dev/zero");
    spec.resources = Resources { memory_limit_bytes: Some(16 << 20), ..Default::default() };
    let (ended, _) = node.run(spec).await;
    assert_eq!((ended.exit.exit_code, ended.exit.signal, ended.exit.oom_killed), (137, Some(9), true));
}

#[tokio::test]
async fn stop_sends_the_signal_and_kills_after_the_grace() {
    let mut node = Node::with_pod().await;
    let kind = "trap 'echo bye >/dev/termination-log; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let kind = node.shell("kind", kind);
    let log = kind.log_path.clone();
    node.launch(kind).await;
    node.launch(node.shell("stubborn", "trap '' TERM; while :; do sleep 1000; done")).await;
    // A signal that comes before the trap is nobody's.
    until("the trap", || texts(&log) == ["ready"]).await;
    node.runtime.stop(POD, "kind", 15, LIMIT).await.unwrap();
    assert_eq!(node.ended().await.exit.exit_code, 4);
    node.runtime.stop(POD, "stubborn", 15, Duration::from_millis(50)).await.unwrap();
    assert_eq!(node.ended().await.exit.exit_code, 137);
}

#[tokio::test]
async fn last_words_come_with_the_end() {
    let mut node = Node::with_pod().await;
    let mut spec = node.shell("one", "echo -n because >/dev/termination-log; exit 1");
    spec.termination_message_path = "/dev/termination-log".into();
    let (ended, _) = node.run(spec).await;
    assert_eq!(ended.exit.message, "because");
}

#[tokio::test]
async fn a_killed_agent_leaves_pids_and_exit_codes() {
    let node = Node::start().await;
    let order =
        (node.sandbox(), vec![node.shell("stays", "exec sleep 1000"), node.shell("goes", "read x </tmp/gate; exit 5")]);
    nix::unistd::mkfifo(&node.dir.join("rootfs/tmp/gate"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    fs::write(node.dir.join("order"), serde_json::to_vec(&order).unwrap()).unwrap();
    let mut agent = tokio::process::Command::new(env!("CARGO_BIN_EXE_runtime-roles"))
        .args([node.dir.as_os_str(), node.parent.as_ref(), node.dir.join("order").as_os_str()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    assert_eq!(tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap(), "ready");
    let pids = |found: &[agent_runtime::SandboxStatus]| {
        let mut pids = Vec::new();
        for container in &found[0].containers {
            if let ContainerState::Running { pid, .. } = container.state {
                pids.push((container.spec.id.clone(), pid));
            }
        }
        pids.sort();
        pids
    };
    let before = pids(&node.runtime.list().await.unwrap());
    assert_eq!(before.len(), 2);
    agent.kill().await.unwrap();
    // It ends while no agent is there.
    fs::write(node.dir.join("rootfs/tmp/gate"), "now\n").unwrap();
    let going = before.iter().find(|(id, _)| id == "goes").unwrap().1;
    until("the end of a container", || !fs::exists(format!("/proc/{going}")).unwrap()).await;
    let found = node.runtime.adopt().await.unwrap();
    assert!(found[0].alive);
    assert_eq!(pids(&found), before.iter().filter(|(id, _)| id == "stays").cloned().collect::<Vec<_>>());
    let gone = found[0].containers.iter().find(|container| container.spec.id == "goes").unwrap();
    let ContainerState::Exited(exit) = &gone.state else { panic!("{:?}", gone.state) };
    assert_eq!((exit.exit_code, exit.lost), (5, false));
}

#[tokio::test]
async fn a_killed_shim_is_told_as_lost_and_can_be_replaced() {
    let mut node = Node::with_pod().await;
    let pid = node.launch(node.shell("one", "exec sleep 1000")).await;
    let shim = node.runtime.list().await.unwrap()[0].sandbox.shim_pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim as i32), nix::sys::signal::SIGKILL).unwrap();
    let ended = node.ended().await;
    assert_eq!((ended.exit.exit_code, ended.exit.lost), (137, true));
    until("the end of the container", || !is_alive(pid)).await;
    node.runtime.create_sandbox(node.sandbox()).await.unwrap();
    node.runtime.remove_container(POD, "one").await.unwrap();
    let (ended, _) = node.run(node.shell("two", "exit 2")).await;
    assert_eq!((ended.exit.exit_code, ended.exit.lost), (2, false));
}

#[tokio::test]
async fn creating_a_sandbox_twice_gives_the_same_one() {
    let node = Node::with_pod().await;
    let first = node.runtime.list().await.unwrap()[0].sandbox.clone();
    let again = Runtime::new(config(&node.dir, &node.parent)).await.unwrap();
    let second = again.create_sandbox(node.sandbox()).await.unwrap();
    assert_eq!(first.shim_pid, second.shim_pid);
    assert_eq!(first.netns_path, second.netns_path);
}

#[tokio::test]
async fn no_zombies_stay_with_the_shim() {
    let mut node = Node::with_pod().await;
    node.launch(node.shell("one", "exec sleep 1000")).await;
    for _ in 0..3 {
        let spec = agent_runtime::ExecSpec { args: vec!["true".into()], ..Default::default() };
        assert_eq!(node.runtime.exec(POD, "one", spec).await.unwrap().wait().await.unwrap(), 0);
    }
    let mut bad = node.shell("bad", "");
    bad.args = vec!["/no/such/program".into()];
    let error = node.runtime.create_container(POD, bad).await.unwrap_err().to_string();
    assert!(error.contains("/no/such/program"), "{error}");
    let shim = node.runtime.list().await.unwrap()[0].sandbox.shim_pid;
    let children = || fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    until("one child of the shim", || children().split_whitespace().count() == 1).await;
    node.runtime.signal(POD, "one", 9).await.unwrap();
    node.ended().await;
    until("no child of the shim", || children().is_empty()).await;
}

#[tokio::test]
async fn removing_leaves_no_mount_cgroup_process_or_file() {
    let node = Node::with_pod().await;
    let pid = node.launch(node.shell("one", "sleep 1000 & sleep 1001 & exec sleep 1002")).await;
    let shim = node.runtime.list().await.unwrap()[0].sandbox.shim_pid;
    // Not in that of the agent's service, which a supervisor may empty.
    let place = fs::read_to_string(format!("/proc/{shim}/cgroup")).unwrap();
    assert!(place.contains(&format!("/{}/shims/", node.parent)), "{place}");
    // Between two programs a process has no command line.
    until("container and shim", || is_alive(pid) && is_alive(shim)).await;
    node.runtime.remove_sandbox(POD).await.unwrap();
    assert!(!is_alive(pid) && !is_alive(shim));
    node.runtime.remove_sandbox(POD).await.unwrap();
    node.runtime.remove_all().await.unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*node.dir.join("run").to_string_lossy()), "{mounts}");
    assert_eq!(fs::read_dir(node.dir.join("run")).unwrap().count(), 0);
    let found = Command::new("/bin/busybox").args(["find", "/sys/fs/cgroup", "-name", &node.parent]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}
