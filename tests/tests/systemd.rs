//! Packages, units and a machine's shutdown, on a Debian whose first process is systemd.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::cluster::DEMO;
use tests::guest::debian::DebianMachine;
use tests::program::{Said, built, kubectl};
use tests::registry::demo_archive;

/// Takes its time to end, and leaves a word behind.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: demo}
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: main
    image: IMAGE
    imagePullPolicy: Never
    command: [sh, -c, "echo hello >>/words/said; exec sleep 100000"]
    lifecycle: {preStop: {exec: {command: [sh, -c, "sleep 2; echo bye >>/words/said"]}}}
    volumeMounts: [{name: words, mountPath: /words}]
  volumes:
  - name: words
    hostPath: {path: /srv/words, type: DirectoryOrCreate}
"#;

/// The pod's first process and when it started; the same after whatever must not touch the pod.
const PROCESS: &str = "for p in $(cat /sys/fs/cgroup/bramble-*/besteffort/pod*/*/cgroup.procs); do cut -d' ' -f1,22 /proc/$p/stat; done | sort -n | head -n 1";
const READY: &str = "kubectl wait --for=condition=Ready pod/demo --timeout=5s";
const NETWORK: &str = "ip link add eth0 type veth && ip addr add 192.168.77.10/24 dev eth0 && ip link set eth0 up && \
    ip link set veth0 up && ip route add default via 192.168.77.1 dev eth0";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Packages of this build in two versions, what the installer needs, and what a test asks with.
fn payload() -> tempfile::TempDir {
    let payload = tempfile::tempdir().unwrap();
    let binaries = payload.path().join("repository/target/dist/x86_64");
    fs::create_dir_all(&binaries).unwrap();
    for program in ["bramble", "bramble-agent"] {
        Said::by(Command::new("strip").arg("-o").arg(binaries.join(program)).arg(built(program))).ok();
    }
    for version in ["1.0", "1.1"] {
        let mut build = Command::new(repository().join("scripts/build-deb"));
        build.arg("x86_64").env("DIST", binaries.parent().unwrap()).env("VERSION", version);
        // The guest is an emulated one: unpacking is dear there.
        Said::by(build.env("DPKG_DEB_COMPRESSOR_TYPE", "none")).ok();
    }
    let copy = format!(
        "mv {dist}/*.deb . && cp -r {repository}/scripts {repository}/systemd repository/ && cp {kubectl} kubectl && \
         cp /bin/busybox . && printf '%s' \"$0\" >pod.yaml",
        dist = binaries.parent().unwrap().display(),
        repository = repository().display(),
        kubectl = kubectl().display(),
    );
    let copy = copy.replace("cp kubectl kubectl", "cp \"$(command -v kubectl)\" kubectl");
    Said::by(Command::new("sh").args(["-ec", &copy, &POD.replace("IMAGE", DEMO)]).current_dir(payload.path())).ok();
    demo_archive(payload.path(), DEMO);
    payload
}

fn machine(payload: &Path) -> DebianMachine {
    let mut machine = DebianMachine::new(payload);
    machine.boot();
    machine.sh("cp /payload/kubectl /usr/local/bin/ && ln -s /payload/busybox /usr/local/bin/ip").ok();
    machine.sh(NETWORK).ok();
    machine
}

/// Server and agent run; the demo's image is there.
fn await_node(machine: &mut DebianMachine) {
    machine.until("the node is Ready", 60, "bramble node list | grep -w Ready");
    machine.sh("bramble-agent image import /payload/*.tar").ok();
}

/// With stand-ins for the programs: what is asked for is the packages' form.
#[test]
fn packages_for_arm_name_their_architecture_and_hold_programs_units_and_settings() {
    let folder = tempfile::tempdir().unwrap();
    let build = || {
        let mut build = Command::new(repository().join("scripts/build-deb"));
        Said::by(build.env("DIST", folder.path()).env("VERSION", "1.0").env("SOURCE_DATE_EPOCH", "1700000000")).ok();
    };
    let package = |debian: &str| folder.path().join(format!("bramble_1.0_{debian}.deb"));
    for arch in ["aarch64", "armv7"] {
        fs::create_dir(folder.path().join(arch)).unwrap();
        for program in ["bramble", "bramble-agent"] {
            fs::copy("/bin/true", folder.path().join(arch).join(program)).unwrap();
        }
    }
    build();
    let first = ["arm64", "armhf"].map(|debian| fs::read(package(debian)).unwrap());
    for debian in ["arm64", "armhf"] {
        let ask = |verb: &str| Said::by(Command::new("dpkg-deb").arg(verb).arg(package(debian))).ok().to_owned();
        let info = ask("--info");
        for words in
            [&format!(" Architecture: {debian}\n"), " Package: bramble\n", " Version: 1.0\n", "postinst", "prerm"]
        {
            assert!(info.contains(words), "{words}\n{info}");
        }
        let content = ask("--contents");
        let units = "./usr/lib/systemd/system/bramble-";
        let files =
            ["./usr/bin/bramble", "./usr/bin/bramble-agent", "./etc/bramble/agent.yaml", "./etc/bramble/server.yaml"];
        let units = ["server", "agent", "pods"].map(|unit| format!("{units}{unit}.service"));
        for file in files.into_iter().chain(units.iter().map(String::as_str)) {
            let mode = if file.contains("/bin/") { "-rwxr-xr-x root/root" } else { "-rw-r--r-- root/root" };
            let line = content.lines().find(|line| line.ends_with(&format!(" {file}")));
            assert!(line.is_some_and(|line| line.starts_with(mode)), "{file}\n{content}");
        }
    }
    build();
    assert!(first == ["arm64", "armhf"].map(|debian| fs::read(package(debian)).unwrap()), "the same bytes again");
}

#[test]
fn a_package_installs_upgrades_shuts_down_and_goes_without_touching_a_pod_in_between() {
    let payload = payload();
    let mut machine = machine(payload.path());
    let kubectl = |line: &str| format!("KUBECONFIG=/var/lib/bramble/kubeconfig {line}");

    machine.sh("dpkg -i /payload/bramble_1.0_amd64.deb").shows("nothing runs yet");
    machine.sh("systemd-analyze verify bramble-server.service bramble-agent.service bramble-pods.service").shows("");
    assert!(!machine.sh("systemctl is-enabled bramble-agent bramble-server").out.contains("enabled"));
    machine.sh("systemctl enable --now bramble-server bramble-agent").ok();
    await_node(&mut machine);
    assert_ne!(machine.sh("ls /var/lib/bramble/join").code, 0, "the token is gone");
    machine.sh(&kubectl("kubectl apply -f /payload/pod.yaml")).ok();
    machine.until("the pod is Ready", 60, &kubectl(READY));
    let first = machine.sh(PROCESS).ok().to_owned();
    assert!(first.trim().contains(' '), "{first:?}");
    machine.sh("wc -l </sys/fs/cgroup/system.slice/bramble-agent.service/cgroup.procs").shows("1\n");
    println!("{}", machine.sh("systemd-analyze security --no-pager | grep bramble").out);

    machine.sh("systemctl restart bramble-agent").ok();
    machine.sh("systemctl kill --signal=KILL bramble-agent").ok();
    machine.sh("systemctl daemon-reload; systemctl daemon-reexec").ok();
    machine.until("systemd starts it again", 30, "systemctl is-active bramble-agent");
    let agent = machine.sh("systemctl show -p MainPID --value bramble-agent").ok().to_owned();
    machine.sh("dpkg -i /payload/bramble_1.1_amd64.deb").ok();
    machine.until("the new agent runs", 30, "systemctl is-active bramble-agent bramble-server");
    assert_ne!(machine.sh("systemctl show -p MainPID --value bramble-agent").ok(), agent);
    machine.until("the pod is at hand again", 60, &kubectl("kubectl exec demo -- cat /words/said"));
    assert_eq!(machine.sh(PROCESS).ok(), first, "the pod did not notice");
    machine.sh("cat /srv/words/said").shows("hello\n");

    machine.sh("systemctl is-active bramble-pods").shows("active");
    let console = machine.shut_down();
    assert!(!console.contains("left-over process"), "{console}");
    assert!(console.contains("stopping all pods"), "{console}");
    machine.boot();
    machine.sh(NETWORK).ok();
    machine.until("the pod runs again after the restart", 90, "[ $(grep -c hello /srv/words/said) = 2 ]");
    machine.until("and is Ready", 60, &kubectl(READY));
    assert_eq!(machine.sh("cat /srv/words/said").ok(), "hello\nbye\nhello\n");

    machine.sh("dpkg --remove bramble").ok();
    assert_eq!(machine.sh("cat /srv/words/said").ok(), "hello\nbye\nhello\nbye\n");
    machine.sh("ls /var/lib/bramble/agent/node.identity /etc/bramble/agent.yaml").ok();
    machine.sh("dpkg --purge bramble").ok();
    nothing_is_left(&mut machine);
}

#[test]
fn the_installer_brings_a_cluster_up_and_takes_all_of_it_away() {
    let payload = payload();
    let mut machine = machine(payload.path());
    machine.sh("/payload/repository/scripts/install --purge").fails("--uninstall [--purge]");
    // A machine whose firmware turns the memory cgroup off, and one where another program has the API's port.
    machine.sh("mkdir -p /boot/firmware && touch /boot/firmware/cmdline.txt").ok();
    let less = "mount -t tmpfs less /sys/fs/cgroup && echo cpu pids >/sys/fs/cgroup/cgroup.controllers";
    let refused = machine.sh(&format!("unshare -m sh -c '{less} && exec /payload/repository/scripts/install'"));
    refused.fails("nothing was installed: see what is MISSING above");
    let line = "add to the one line of /boot/firmware/cmdline.txt, then restart:  cgroup_enable=memory cgroup_memory=1";
    assert!(refused.out.contains(line), "{}", refused.out);
    machine.sh("rm -r /boot/firmware; /payload/busybox nc -l -p 6443 >/dev/null 2>&1 & echo $! >/run/taken").ok();
    machine.sh("/payload/repository/scripts/install").fails("put listen: 0.0.0.0:PORT into /etc/bramble/server.yaml");
    nothing_is_left(&mut machine);
    machine.sh("kill $(cat /run/taken)").ok();
    machine.sh("/payload/repository/scripts/install").shows("Ready");
    await_node(&mut machine);
    machine.sh("KUBECONFIG=/var/lib/bramble/kubeconfig kubectl apply -f /payload/pod.yaml").ok();
    machine.until("the pod is Ready", 60, &format!("KUBECONFIG=/var/lib/bramble/kubeconfig {READY}"));
    machine.sh("/payload/repository/scripts/install --uninstall --purge").shows("removed, with all data");
    assert_eq!(machine.sh("cat /srv/words/said").ok(), "hello\nbye\n");
    nothing_is_left(&mut machine);
}

#[track_caller]
fn nothing_is_left(machine: &mut DebianMachine) {
    let left = [
        "find / -xdev -path /payload -prune -o -path /proc -prune -o -iname '*bramble*' -print",
        "find /sys/fs/cgroup -name '*bramble*'",
        "ls /var/log/pods /var/log/containers 2>/dev/null",
        "grep -i bramble /proc/mounts",
        "grep -l bramble /proc/[0-9]*/comm",
        "ls /sys/class/net | grep '^br'",
        "systemctl list-units --all --plain --no-legend 'bramble*'",
        "ip route | grep 10.4",
    ];
    for line in left {
        assert_eq!(machine.sh(line).out, "", "{line}");
    }
}
