//! What a container must not be able to do, looked at from inside one, and from inside an exec.

use std::path::{Path, PathBuf};

use agent_runtime::{Config, ContainerSpec, ExecSpec, Mount, Propagation, Resources, Runtime, User};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
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
    crate::ends::until("its own words", || crate::node::texts(&log).len() >= 9).await;
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

/// What `script` says in a container's first process, and what it says in an exec of another.
async fn in_both(script: &str) -> [Vec<String>; 2] {
    let mut node = Node::with_pod().await;
    node.launch(node.shell("one", "exec sleep 1000")).await;
    let in_exec = exec(&node, script).await;
    let (_, log) = node.run(node.shell("two", script)).await;
    [log, in_exec.lines().map(str::to_owned).collect()]
}

#[tokio::test]
async fn devices_that_a_container_makes_itself_cannot_be_opened() {
    let script = "mknod /dev/disk b 254 0 && echo made; cat /dev/disk >/dev/null 2>&1 || echo refused; \
                  mknod /dev/tun c 10 200; (: </dev/tun) 2>/dev/null || echo no tun; \
                  mknod /dev/log c 1 11; (echo a container >/dev/log) 2>/dev/null || echo no kernel log; \
                  echo x >/dev/null && head -c 1 /dev/zero >/dev/null && echo null and zero work";
    for said in in_both(script).await {
        assert_eq!(said, ["made", "refused", "no tun", "no kernel log", "null and zero work"]);
    }
}

#[tokio::test]
async fn kernel_and_cgroup_files_are_read_only_and_kcore_is_masked() {
    let script = "echo 1 >/proc/sys/kernel/panic || echo sys; echo b >/proc/sysrq-trigger || echo sysrq; \
                  for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/x && echo made $d/x; done; echo cgroup; \
                  for f in /proc/timer_list /proc/kcore /proc/keys; do [ ! -e $f ] || head -c 1 $f | wc -c; done; ls -A /sys/firmware; ls -A /proc/acpi; \
                  unshare -m true || echo unshare; mount -t tmpfs t /tmp || echo mount; mount -o remount,rw /proc/sys || echo remount";
    for said in in_both(&format!("({script}) 2>/dev/null")).await {
        let (masked, others): (Vec<_>, Vec<_>) = said.iter().partition(|line| *line == "0");
        assert!(!masked.is_empty(), "{said:?}");
        assert_eq!(others, ["sys", "sysrq", "cgroup", "unshare", "mount", "remount"], "{said:?}");
    }
}

#[tokio::test]
async fn dropped_capabilities_and_a_read_only_root_hold_in_an_exec_too() {
    let node = Node::with_pod().await;
    let spec = ContainerSpec {
        capabilities_drop: vec!["ALL".into()],
        capabilities_add: vec!["NET_BIND_SERVICE".into()],
        read_only_rootfs: true,
        ..node.shell("one", "exec sleep 1000")
    };
    node.launch(spec).await;
    let script = "grep -hE '^Cap(Prm|Eff|Bnd)' /proc/1/status /proc/self/status | cut -f2; \
                  (: >/made) 2>/dev/null || echo read-only; mknod /dev/disk b 254 0 2>/dev/null || echo no mknod";
    let said = exec(&node, script).await;
    let (masks, others): (Vec<_>, Vec<_>) = said.lines().partition(|line| line.starts_with("0000"));
    assert_eq!(masks, ["0000000000000400"; 6], "{said}");
    assert_eq!(others, ["read-only", "no mknod"]);
}

/// Also run on a kernel whose memory cgroup is off.
#[tokio::test]
async fn a_memory_limit_holds_or_is_refused_with_the_reason() {
    let node = Node::start().await;
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let is_there = controllers.contains("memory") || std::fs::exists("/sys/fs/cgroup/memory/cgroup.procs").unwrap();
    let resources = Resources { memory_limit_bytes: Some(64 << 20), ..Default::default() };
    let of_pod = node.runtime.create_sandbox(agent_runtime::SandboxSpec { resources, ..node.sandbox() }).await;
    assert_eq!(of_pod.is_ok(), is_there);
    node.runtime.create_sandbox(node.sandbox()).await.unwrap();
    let spec = ContainerSpec { resources, ..node.shell("one", "exec sleep 1000") };
    match node.runtime.create_container(POD, spec).await {
        Ok(_) => assert!(is_there),
        Err(error) => {
            let words = "this node cannot enforce what container one asks for: the kernel's memory cgroup is off, ";
            assert!(!is_there && error.to_string().starts_with(words), "{error}");
            println!("refused: {error}");
        }
    }
}

#[tokio::test]
async fn a_misspelt_capability_to_drop_is_refused() {
    let node = Node::with_pod().await;
    let spec = ContainerSpec { capabilities_drop: vec!["NETRAW".into()], ..node.shell("one", "true") };
    let error = node.runtime.create_container(POD, spec).await.unwrap_err().to_string();
    assert_eq!(error, "this node cannot enforce what container one asks for: there is no capability \"NETRAW\"");
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
async fn a_container_and_an_exec_are_in_no_group_of_whoever_started_the_agent() {
    nix::unistd::setgroups(&[nix::unistd::Gid::from_raw(4242)]).unwrap();
    let script = "echo groups: $(grep ^Groups: /proc/self/status | cut -f2)";
    for said in in_both(script).await {
        assert_eq!(said, ["groups:"]);
    }
    let node = Node::with_pod().await;
    let user = User { uid: 1000, gid: 2000, additional_gids: vec![2000, 3000] };
    node.launch(ContainerSpec { user, ..node.shell("one", "exec sleep 1000") }).await;
    assert_eq!(exec(&node, script).await, "groups: 2000 3000\n");
}

#[tokio::test]
async fn the_privileged_one_may_mount_and_has_no_filter() {
    let mut node = Node::with_pod().await;
    let script = "mount -t tmpfs t /tmp && echo mounted; grep Seccomp: /proc/self/status | cut -f2";
    let spec = ContainerSpec { privileged: true, ..node.shell("one", script) };
    let (_, log) = node.run(spec).await;
    assert_eq!(log, ["mounted", "0"]);
}

/// A tmpfs whose later mounts are seen elsewhere; it goes with all that is on it.
struct Shared(PathBuf);

impl Shared {
    fn mount_at(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        tmpfs(&path);
        mount(None::<&str>, &path, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        Self(path)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn tmpfs(path: &Path) {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
}

#[tokio::test]
async fn what_the_host_mounts_later_appears_in_a_container_that_asks_for_it() {
    let mut node = Node::with_pod().await;
    let shared = Shared::mount_at(node.dir.join("shared"));
    let late = shared.0.join("late");
    std::fs::create_dir(&late).unwrap();
    let asks = Mount {
        host_path: shared.0.clone(),
        container_path: "/host".into(),
        propagation: Propagation::HostToContainer,
        ..Default::default()
    };
    let script = "until [ -e /host/late/mark ]; do sleep 0.1; done";
    node.launch(ContainerSpec { mounts: vec![asks], ..node.shell("one", script) }).await;
    tmpfs(&late);
    std::fs::write(late.join("mark"), "").unwrap();
    assert_eq!(node.ended().await.exit.exit_code, 0);
}

/// Root's ways to a file that it is shown; the file's own beginning says that it was there to be changed. While it is
/// executed nobody may write to it, whatever the mount says.
const CHANGE: &str = "head -c 4 /proc/1/exe | tail -c 3; echo; for way in 'chmod 4777' 'chown 1' 'chmod 0' 'touch'; do \
                      $way /proc/1/exe 2>&1 | grep -o 'Read-only file system' || echo changed; done; \
                      (: >>/proc/1/exe) 2>&1 | grep -qE 'Read-only file system|Text file busy' || echo written to";

/// A node that runs a copy of the program, and whether that copy is as it was: where it can be changed, only these tests are
/// to notice.
async fn with_its_own_program() -> (Node, impl Fn() -> bool + use<>) {
    use std::os::unix::fs::MetadataExt;
    let mut node = Node::start().await;
    let config = crate::node::config(&node.dir, &node.parent);
    let executable = node.dir.join("program");
    std::fs::copy(&config.executable, &executable).unwrap();
    node.runtime = Runtime::new(Config { executable: executable.clone(), ..config }).await.unwrap();
    node.events = node.runtime.events().unwrap();
    let look = move || std::fs::metadata(&executable).map(|m| (m.mode(), m.uid(), m.len(), m.mtime_nsec())).unwrap();
    let before = look();
    (node, move || look() == before)
}

#[tokio::test]
async fn a_container_that_runs_the_agents_program_cannot_change_its_file() {
    let (node, unchanged) = with_its_own_program().await;
    node.runtime.create_sandbox(node.sandbox()).await.unwrap();
    // What the program needs, and something to wait for.
    let folders = ["/lib", "/lib64"].map(PathBuf::from).into_iter().filter(|path| path.exists());
    let mount = |path: PathBuf| Mount { host_path: path.clone(), container_path: path, ..Default::default() };
    nix::unistd::mkfifo(&node.dir.join("rootfs/tmp/order"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let args = ["/proc/self/exe", "/tmp", "none", "/tmp/order"].map(String::from).to_vec();
    node.launch(ContainerSpec { args, mounts: folders.map(mount).collect(), ..node.shell("one", "") }).await;
    let said = exec(&node, &format!("{CHANGE}; tr '\\0' ' ' </proc/1/cmdline")).await;
    let refused = "Read-only file system\n".repeat(4);
    assert_eq!(said, format!("ELF\n{refused}/proc/self/exe /tmp none /tmp/order "));
    assert!(unchanged());
}

#[tokio::test]
async fn who_may_trace_the_first_process_of_shared_ones_cannot_change_the_agents_file() {
    let (mut node, unchanged) = with_its_own_program().await;
    let shared = agent_runtime::SandboxSpec { share_process_namespace: true, ..node.sandbox() };
    node.runtime.create_sandbox(shared).await.unwrap();
    let spec = ContainerSpec { capabilities_add: vec!["SYS_PTRACE".into()], ..node.shell("one", CHANGE) };
    let (_, said) = node.run(spec).await;
    assert_eq!(said, [vec!["ELF"], vec!["Read-only file system"; 4]].concat());
    assert!(unchanged());
}

#[tokio::test]
async fn what_is_mounted_below_a_read_only_mount_is_read_only_where_that_is_asked_for() {
    let mut node = Node::with_pod().await;
    let shared = Shared::mount_at(node.dir.join("shared"));
    std::fs::create_dir(shared.0.join("below")).unwrap();
    tmpfs(&shared.0.join("below"));
    let mount = |path: &str, recursive_read_only| Mount {
        host_path: shared.0.clone(),
        container_path: path.into(),
        read_only: true,
        recursive_read_only,
        ..Default::default()
    };
    let script = "for d in /some /some/below /all /all/below; do (: >$d/made) 2>/dev/null && echo $d is writable; done";
    let mounts = vec![mount("/some", false), mount("/all", true)];
    let (_, log) = node.run(ContainerSpec { mounts, ..node.shell("one", script) }).await;
    assert_eq!(log, ["/some/below is writable"]);
}
