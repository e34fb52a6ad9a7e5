//! What a container must not be able to do, looked at from inside one, and from inside an exec.

use agent_runtime::{ContainerSpec, ExecSpec, User};
use tokio::io::AsyncReadExt;

use crate::node::{Node, POD};

async fn exec(node: &Node, script: &str) -> String {
    let args = ["sh", "-c", script].map(String::from).to_vec();
    let mut handle = node.runtime.exec(POD, "one", ExecSpec { args, ..Default::default() }).await.unwrap();
    let mut out = String::new();
    handle.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    handle.wait().await.unwrap();
    out
}

const STATUS: &str = "grep -E '^(Seccomp|Cap[A-Z].*|NoNewPrivs|SigIgn|SigBlk):' /proc/self/status";
/// chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap
const DEFAULT_CAPABILITIES: &str = "00000000a80425fb";

fn check_status(text: &str) {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.trim_start_matches(':').trim().to_owned()
    };
    assert_eq!(field("Seccomp"), "2", "{text}");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(set), DEFAULT_CAPABILITIES, "{set} in {text}");
    }
    for set in ["CapInh", "CapAmb", "SigBlk"] {
        assert_eq!(field(set), "0000000000000000", "{set} in {text}");
    }
    // The shell itself ignores SIGQUIT.
    assert!(["0000000000000000", "0000000000000004"].contains(&field("SigIgn").as_str()), "{text}");
    assert_eq!(field("NoNewPrivs"), "0");
}

#[tokio::test]
async fn container_and_exec_have_seccomp_and_the_default_capabilities_alone() {
    let node = Node::with_pod().await;
    let spec = node.shell("one", &format!("{STATUS}; exec sleep 1000"));
    let log = spec.log_path.clone();
    node.launch(spec).await;
    check_status(&exec(&node, STATUS).await);
    check_status(&crate::node::texts(&log).join("\n"));
}

#[tokio::test]
async fn no_new_privileges_holds_in_the_container_and_in_an_exec() {
    let node = Node::with_pod().await;
    let spec = ContainerSpec { no_new_privileges: true, ..node.shell("one", "exec sleep 1000") };
    node.launch(spec).await;
    let out = exec(&node, "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status /proc/1/status").await;
    assert_eq!(out.matches("NoNewPrivs:\t1").count(), 2, "{out}");
    assert_eq!(out.matches("Seccomp:\t2").count(), 2, "{out}");
}

#[tokio::test]
async fn devices_that_a_container_makes_itself_cannot_be_opened() {
    let mut node = Node::with_pod().await;
    let script = "mknod /tmp/disk b 254 0 && echo made; cat /tmp/disk >/dev/null 2>&1 || echo refused; \
                  mknod /tmp/tun c 10 200; (: </tmp/tun) 2>/dev/null || echo no tun; \
                  echo x >/dev/null && head -c 1 /dev/zero >/dev/null && echo null and zero work";
    let spec = node.shell("one", script);
    let (_, log) = node.run(spec).await;
    assert_eq!(log, ["made", "refused", "no tun", "null and zero work"]);
}

#[tokio::test]
async fn kernel_and_cgroup_files_are_read_only_and_kcore_is_masked() {
    let mut node = Node::with_pod().await;
    let script = "echo 1 >/proc/sys/kernel/panic || echo sys; for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/x && echo made $d/x; done; echo cgroup; \
                  wc -c </proc/timer_list; unshare -m true || echo unshare; mount -t tmpfs t /tmp || echo mount";
    let spec = node.shell("one", &format!("({script}) 2>/dev/null"));
    let (_, log) = node.run(spec).await;
    assert_eq!(log, ["sys", "cgroup", "0", "unshare", "mount"]);
}

#[tokio::test]
async fn a_user_has_its_ids_and_no_capabilities() {
    let mut node = Node::with_pod().await;
    let mut spec = node.shell("one", "id -u; id -g; id -G; pwd; echo $A; grep CapEff /proc/self/status | cut -f2");
    spec.user = User { uid: 1000, gid: 2000, additional_gids: vec![3000] };
    spec.cwd = "/tmp".into();
    spec.env = vec!["A=b c".into()];
    let (_, log) = node.run(spec).await;
    assert_eq!(log, ["1000", "2000", "2000 3000", "/tmp", "b c", "0000000000000000"]);
}

#[tokio::test]
async fn the_privileged_one_may_mount_and_has_no_filter() {
    let mut node = Node::with_pod().await;
    let script = "mount -t tmpfs t /tmp && echo mounted; grep Seccomp: /proc/self/status | cut -f2";
    let spec = ContainerSpec { privileged: true, ..node.shell("one", script) };
    let (_, log) = node.run(spec).await;
    assert_eq!(log, ["mounted", "0"]);
}
