//! What containers cannot do, as they find out themselves, and pods that are refused for what cannot be enforced.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use tests::cluster::{Cluster, DEMO};
use tests::isolation;
use tests::program::{Said, eventually, kubectl};
use tests::users;

#[test]
fn init_containers_containers_and_execs_are_all_isolated() {
    let cluster = Cluster::start();
    cluster.apply(&isolation::manifest()).ok();
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/strict", "pod/plain", "pod/user", "--timeout=60s"]).ok();
    for (line, said) in isolation::looks() {
        let line = line.replacen("kubectl", &kubectl().display().to_string(), 1);
        let looked = Said::by(&mut cluster.kubectl_command(Path::new("sh"), &["-c", &line]));
        assert_eq!(looked.ok(), said, "{line}");
    }
}

#[test]
fn a_pod_is_refused_for_isolation_that_cannot_be_had_and_its_status_says_why() {
    let cluster = Cluster::start();
    let pod = |name: &str, of_pod: &str, own: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  {of_pod}\n  containers:\n  - {{name: main, image: '{DEMO}', {own}}}\n"
        )
    };
    cluster
        .apply(&pod("users", "hostUsers: false, hostPID: true".replace(", ", "\n  ").as_str(), ""))
        .fails("spec.hostPID: Forbidden: when `hostUsers` is false");
    cluster.apply(&pod("typo", "", "securityContext: {capabilities: {drop: [NETRAW]}}")).ok();
    let waiting = "jsonpath={.status.containerStatuses[0].state.waiting}";
    let mut said = String::new();
    eventually("the container is refused", 30, || {
        said = cluster.kubectl(&["get", "pod", "typo", "-o", waiting]).out;
        said.contains("CreateContainerError")
    });
    assert!(said.contains("this node cannot enforce what container main asks for: there is no capability"), "{said}");
    cluster.k("get events --field-selector involvedObject.name=typo").shows("there is no capability");
}

fn said(cluster: &Cluster, pod: &str, container: &str, script: &str) -> String {
    cluster.kubectl(&["exec", pod, "-c", container, "--", "sh", "-c", script]).ok().trim_end().to_owned()
}

/// The host's id of a pod's root, as its container sees it.
fn first_id(cluster: &Cluster, pod: &str) -> u32 {
    said(cluster, pod, "main", "cat /proc/self/uid_map").split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_pod_with_users_of_its_own_owns_its_files_and_nothing_of_the_host() {
    let cluster = Cluster::start();
    let host = cluster.path().join("host");
    fs::create_dir_all(host.join("part")).unwrap();
    for (name, id) in [("root", 0), ("user", 1000)] {
        fs::write(host.join(name), name).unwrap();
        fs::set_permissions(host.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        chown(host.join(name), Some(id), Some(id)).unwrap();
    }
    cluster.apply(&users::full(host.to_str().unwrap())).ok();
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/full", "--timeout=60s"]).ok();
    let handlers = cluster.k("get nodes -o jsonpath={.items[0].status.runtimeHandlers}");
    assert_eq!(handlers.ok(), r#"[{"features":{"recursiveReadOnlyMounts":true,"userNamespaces":true}}]"#);
    let first = first_id(&cluster, "full");
    assert!(first >= 65_536);
    let who = format!("0 0 {first} 65536 0 {first} 65536");
    assert_eq!(said(&cluster, "full", "main", users::WHO), who);
    assert_eq!(said(&cluster, "full", "user", users::WHO), who.replacen('0', "1000", 1));
    for container in ["init", "main"] {
        assert_eq!(cluster.k(&format!("logs full -c {container}")).ok().trim_end(), who);
    }
    let owners = "cd /v; stat -c '%n %u:%g %a' empty memory claim secret/..data/key host/root host/user part /etc/hosts /bin; \
                  cat secret/key config/key downward/labels host/root";
    assert_eq!(
        said(&cluster, "full", "main", owners),
        "empty 0:2000 2777\nmemory 0:2000 2777\nclaim 0:2000 2777\nsecret/..data/key 0:2000 440\nhost/root 0:0 600\n\
         host/user 1000:1000 600\npart 0:0 755\n/etc/hosts 0:0 644\n/bin 0:0 755\nhiddenshownapp=\"full\"root"
    );
    let write = "for f in empty memory claim host part; do echo x >/v/$f/made; done; stat -c %u:%g /v/empty/made /v/claim/made; \
                 chown 70000 /v/host/made 2>/dev/null || echo no such user; echo x >/made; stat -c %u /made";
    assert_eq!(said(&cluster, "full", "main", write), "0:2000\n0:2000\nno such user\n0");
    // A user of the pod's has what the user of that number has, and its group what the pod's has.
    let read = "cat /v/secret/key /v/host/user; cat /v/host/root 2>/dev/null || echo; echo y >/v/empty/own; stat -c %u:%g /v/empty/own";
    assert_eq!(said(&cluster, "full", "user", read), "hiddenuser\n1000:2000");
    let made = fs::metadata(host.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0));
    let no_power = "mknod /dev/disk b 254 0 2>/dev/null || echo no devices; \
                    (echo 1 >/proc/sys/vm/drop_caches) 2>/dev/null || echo no sysctls; grep Seccomp: /proc/self/status | cut -f2";
    assert_eq!(said(&cluster, "full", "main", no_power), "no devices\nno sysctls\n2");
    // To the host its processes are nobody's: as one of them, none of the host's can be killed.
    let pids = cluster.container_pids("sleep");
    assert_eq!(pids.len(), 2);
    for pid in pids {
        let owner = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
        assert!(owner == first || owner == first + 1000, "{owner}");
        let pid = pid.to_string();
        let kill = Said::by(Command::new("nsenter").args(["--user", "--target", &pid, "sh", "-c", "kill -0 1"]));
        kill.fails("not permitted");
    }
}

#[test]
fn users_of_pods_are_disjoint_survive_the_agent_and_are_free_again_with_the_pod() {
    let cluster = Cluster::start();
    let manifest = [users::plain("one", ""), users::plain("two", "shareProcessNamespace: true")].join("---\n");
    cluster.apply(&manifest).ok();
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/one", "pod/two", "--timeout=60s"]).ok();
    let (one, two) = (first_id(&cluster, "one"), first_id(&cluster, "two"));
    assert!(one.abs_diff(two) >= 65_536, "{one} {two}");
    cluster.kill_9("agent");
    eventually("the pod's container is killed by its own root", 60, || {
        cluster.kubectl(&["exec", "two", "--", "sh", "-c", "kill $(pidof sleep)"]).code == 0
    });
    eventually("a new container has the same users", 60, || {
        let count = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
        cluster.kubectl(&["get", "pod", "two", "-o", count]).out == "1 true"
    });
    assert_eq!((first_id(&cluster, "one"), first_id(&cluster, "two")), (one, two));
    cluster.k("delete pod one").ok();
    cluster.apply(&users::plain("three", "")).ok();
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/three", "--timeout=60s"]).ok();
    assert_eq!(first_id(&cluster, "three"), one);
}

#[test]
fn a_volume_that_cannot_be_had_with_users_of_ones_own_keeps_the_pod_from_running() {
    let cluster = Cluster::start();
    let pod = users::plain("devices", "volumes: [{name: h, hostPath: {path: /proc}}]");
    cluster.apply(&pod.replace("command:", "volumeMounts: [{name: h, mountPath: /h}], command:")).ok();
    let waiting = "jsonpath={.status.containerStatuses[0].state.waiting}";
    let mut said = String::new();
    eventually("the container is refused", 30, || {
        said = cluster.kubectl(&["get", "pod", "devices", "-o", waiting]).out;
        said.contains("CreateContainerError")
    });
    let why = "/proc: its file system cannot be mounted with a user namespace's ids on this kernel";
    assert!(said.contains(why), "{said}");
    cluster.k("get events --field-selector involvedObject.name=devices").shows(why);
}
