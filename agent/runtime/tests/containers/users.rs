//! Pods with users of their own: what root is inside, on the host, and to files that are mounted.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::Path;

use agent_runtime::{ContainerSpec, ExecSpec, Mount, Propagation, SandboxSpec, User};
use tokio::io::AsyncReadExt;

use crate::node::{Node, POD, texts};

/// A pod with users of its own, whose root owns the root filesystem, as an image's layers would have it.
async fn start(of_pod: impl FnOnce(SandboxSpec) -> SandboxSpec) -> (Node, u32) {
    let node = Node::start().await;
    let spec = of_pod(SandboxSpec { user_namespace: true, ..node.sandbox() });
    node.runtime.create_sandbox(spec).await.unwrap();
    let first_id = node.runtime.user_namespace(POD).await.unwrap().unwrap().first_id;
    give(&node.dir.join("rootfs"), first_id);
    // As a card has it: nobody but root looks into the data folder.
    fs::set_permissions(&node.dir, fs::Permissions::from_mode(0o700)).unwrap();
    (node, first_id)
}

fn give(path: &Path, id: u32) {
    lchown(path, Some(id), Some(id)).unwrap();
    if !path.is_symlink() && path.is_dir() {
        fs::read_dir(path).unwrap().flatten().for_each(|entry| give(&entry.path(), id));
    }
}

async fn exec(node: &Node, script: &str, user: Option<User>) -> String {
    let args = ["sh", "-c", script].map(String::from).to_vec();
    let mut handle = node.runtime.exec(POD, "one", ExecSpec { args, user, ..Default::default() }).await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    handle.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    handle.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    handle.wait().await.unwrap();
    out + &err
}

const WHO: &str = "echo $(id -u) $(id -G) $(cat /proc/self/uid_map) $(cat /proc/self/gid_map) $(hostname); \
                   grep -hE '^(Seccomp|CapEff|CapBnd):' /proc/self/status | cut -f2";

#[tokio::test]
async fn root_of_a_container_and_of_an_exec_is_nobody_on_the_host() {
    let (node, first) = start(|spec| spec).await;
    let spec = node.shell("one", &format!("{WHO}; exec sleep 1000"));
    let log = spec.log_path.clone();
    let pid = node.launch(spec).await;
    let said = format!("0 0 0 {first} 65536 0 {first} 65536 web-0\n00000000a80425fb\n00000000a80425fb\n2\n");
    assert_eq!(exec(&node, WHO, None).await, said);
    assert_eq!(texts(&log).join("\n") + "\n", said);
    let meta = fs::metadata(format!("/proc/{pid}")).unwrap();
    assert!(first >= 65_536);
    assert_eq!((meta.uid(), meta.gid()), (first, first));
    for kind in ["user", "net", "ipc", "uts", "mnt", "pid", "cgroup"] {
        let own = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_ne!(own, fs::read_link(format!("/proc/self/ns/{kind}")).unwrap());
    }
    let user = User { uid: 1000, gid: 2000, additional_gids: vec![3000] };
    let who = "id -u; id -G; touch /tmp/made; grep CapEff /proc/self/status | cut -f2";
    assert_eq!(exec(&node, who, Some(user)).await, "1000\n2000 3000\n0000000000000000\n");
    let made = fs::metadata(node.dir.join("rootfs/tmp/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (first + 1000, first + 2000));
}

#[tokio::test]
async fn owners_of_what_is_mounted_are_inside_what_they_are_on_disk() {
    let (mut node, first) = start(|spec| spec).await;
    let folder = node.dir.join("volume");
    fs::create_dir(&folder).unwrap();
    for (name, id) in [("root", 0), ("user", 1000), ("none", 70_000)] {
        fs::write(folder.join(name), name).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o400)).unwrap();
        chown(folder.join(name), Some(id), Some(id)).unwrap();
    }
    let script = "cd /tmp/v; for f in root user none; do echo $f $(stat -c %u:%g $f) $(cat $f 2>/dev/null); done; \
                  touch made && chown 7:8 made && chown 70000 made 2>/dev/null || echo no such user; \
                  cat /tmp/one; echo; (echo x >/tmp/one) 2>/dev/null || echo read-only; echo said >/tmp/end";
    let mount = |host: &Path, path: &str, read_only| Mount {
        host_path: host.to_owned(),
        container_path: path.into(),
        read_only,
        ..Default::default()
    };
    let spec = ContainerSpec {
        mounts: vec![mount(&folder, "/tmp/v", false), mount(&folder.join("root"), "/tmp/one", true)],
        termination_message_path: "/tmp/end".into(),
        ..node.shell("one", script)
    };
    let log = spec.log_path.clone();
    if let Err(error) = node.runtime.create_container(POD, spec).await {
        // A tmpfs of an older kernel.
        let why = "its file system cannot be mounted with a user namespace's ids on this kernel";
        assert!(error.to_string().ends_with(why) && !is_ext4(&folder), "{error}");
        return println!("refused: {error}");
    }
    node.runtime.start(POD, "one").await.unwrap();
    let (ended, log) = (node.ended().await, texts(&log));
    let said = ["root 0:0 root", "user 1000:1000 user", "none 65534:65534", "no such user", "root", "read-only"];
    assert_eq!(log, said, "{ended:?}, ids from {first}");
    assert_eq!(ended.exit.message, "said\n");
    let made = fs::metadata(folder.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (7, 8));
}

fn is_ext4(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).unwrap().filesystem_type() == nix::sys::statfs::EXT4_SUPER_MAGIC
}

#[tokio::test]
async fn such_a_root_has_no_power_over_the_host() {
    let (mut node, _) = start(|spec| spec).await;
    let script = "mknod /tmp/disk b 254 0 2>/dev/null || echo no devices; \
                  mount -t tmpfs t /tmp && umount /tmp && echo may mount; \
                  (echo 1 >/proc/sys/vm/drop_caches) 2>/dev/null || echo no sysctls; \
                  mount -t ext4 /dev/vda /tmp 2>/dev/null || echo no disks; \
                  hostname other && echo $(hostname); \
                  (echo a container >/dev/kmsg) 2>/dev/null || echo no kernel log";
    let spec = ContainerSpec { privileged: true, ..node.shell("one", script) };
    let (_, log) = node.run(spec).await;
    assert_eq!(log, ["no devices", "may mount", "no sysctls", "no disks", "other", "no kernel log"]);
}

#[tokio::test]
async fn an_unmasked_proc_shows_what_is_masked_otherwise_and_gives_no_power() {
    let (mut node, _) = start(|spec| spec).await;
    let script = "(echo 1 >/proc/sys/vm/drop_caches) 2>&1 | grep -o 'Permission denied'; \
                  grep -c ' /proc/' /proc/self/mounts; unshare -m sh -c 'mount -t proc proc /tmp && echo mounted' 2>&1";
    let paths = Some(Vec::new());
    let spec = ContainerSpec {
        masked_paths: paths.clone(),
        readonly_paths: paths,
        capabilities_add: vec!["SYS_ADMIN".into()],
        ..node.shell("one", script)
    };
    let (_, log) = node.run(spec).await;
    assert_eq!(log, ["Permission denied", "0", "mounted"]);
}

#[tokio::test]
async fn containers_that_share_processes_and_memory_are_still_nobody() {
    let (mut node, first) = start(|spec| SandboxSpec { share_process_namespace: true, ..spec }).await;
    let holder = "echo $(stat -c %u /proc/1) $(cat /proc/1/comm); echo shared >/dev/shm/note; exec sleep 1000";
    let spec = node.shell("one", holder);
    let log = spec.log_path.clone();
    node.launch(spec).await;
    let script =
        "cat /dev/shm/note; stat -c %u /dev/shm /dev/shm/note; ps | grep -c 'sleep 100[0]'; kill $(pidof sleep)";
    assert_eq!(exec(&node, script, None).await, "shared\n0\n0\n1\n");
    let ended = node.ended().await;
    assert_eq!(ended.exit.signal, Some(15));
    assert_eq!(texts(&log), ["65535 pause"], "ids from {first}");
}

#[tokio::test]
async fn a_terminal_is_of_who_works_on_it() {
    let (node, _) = start(|spec| spec).await;
    node.launch(node.shell("one", "exec sleep 1000")).await;
    let args = ["sh", "-c", "stat -c %u $(tty); id -u"].map(String::from).to_vec();
    let mut handle = node.runtime.exec(POD, "one", ExecSpec { args, tty: true, ..Default::default() }).await.unwrap();
    let mut out = Vec::new();
    // A terminal whose last holder is gone says so with an error.
    let _ = handle.stdout.take().unwrap().read_to_end(&mut out).await;
    assert_eq!(String::from_utf8_lossy(&out), "0\r\n0\r\n");
}

#[tokio::test]
async fn pods_have_ranges_of_their_own_which_are_free_again_when_they_are_gone() {
    let (node, first) = start(|spec| spec).await;
    let other = |uid: &str| SandboxSpec { uid: uid.into(), user_namespace: true, ..node.sandbox() };
    node.runtime.create_sandbox(other("two")).await.unwrap();
    let of = async |uid: &str| node.runtime.user_namespace(uid).await.unwrap().unwrap().first_id;
    let second = of("two").await;
    assert_eq!((first, second), (65_536, 131_072));
    // What an agent does that has crashed half-way.
    node.runtime.create_sandbox(other("two")).await.unwrap();
    assert_eq!(of("two").await, second);
    node.runtime.remove_sandbox(POD).await.unwrap();
    node.runtime.create_sandbox(other("three")).await.unwrap();
    assert_eq!((of("three").await, of("two").await), (first, second));
}

#[tokio::test]
async fn what_cannot_be_had_with_users_of_ones_own_is_refused() {
    let (node, _) = start(|spec| spec).await;
    let refused = async |spec: ContainerSpec| node.runtime.create_container(POD, spec).await.unwrap_err().to_string();
    let mount = |path: &str, propagation| Mount {
        host_path: path.into(),
        container_path: "/tmp".into(),
        propagation,
        ..Default::default()
    };
    let begin = "this node cannot enforce what container one asks for: ";
    let spec = ContainerSpec { mounts: vec![mount("/proc", Propagation::Private)], ..node.shell("one", "true") };
    let why = "/proc: its file system cannot be mounted with a user namespace's ids on this kernel";
    assert_eq!(refused(spec).await, format!("{begin}{why}"));
    let spec = ContainerSpec { mounts: vec![mount("/tmp", Propagation::Bidirectional)], ..node.shell("one", "true") };
    let why = "what is mounted at /tmp in a user namespace cannot appear on the host";
    assert_eq!(refused(spec).await, format!("{begin}{why}"));
    let user = User { uid: 65_536, ..Default::default() };
    let spec = ContainerSpec { user, ..node.shell("one", "true") };
    assert_eq!(refused(spec).await, format!("{begin}id 65536 is none of the 65536 ids that its user namespace has"));
    let spec = SandboxSpec { uid: "host".into(), host_network: true, user_namespace: true, ..node.sandbox() };
    assert!(node.runtime.create_sandbox(spec).await.is_err());
}
