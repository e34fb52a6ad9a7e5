//! What containers of a pod see of their isolation, for clusters on any machine: a pod whose init container, main
//! container and execs all say it, and what they must say.

use crate::cluster::DEMO;

/// Said by a shell in the container, in this order. Devices are made in /dev: other file systems may open none.
const LOOK: &str = "grep -hE '^(Seccomp|NoNewPrivs|CapEff|CapBnd):' /proc/self/status; \
    mknod /dev/disk b 254 0 2>/dev/null || echo no mknod; \
    (echo 1 >/proc/sys/kernel/panic) 2>/dev/null || echo sysctls are read-only; \
    (echo b >/proc/sysrq-trigger) 2>/dev/null || echo sysrq is read-only; \
    head -c 1 /proc/timer_list | wc -c; \
    (touch /made) 2>/dev/null || echo the root is read-only; \
    unshare -m true 2>/dev/null || echo no namespaces; \
    mount -t tmpfs t /tmp 2>/dev/null || echo no mounts";

const SAID: [&str; 11] = [
    "CapEff:\t0000000000000400",
    "CapBnd:\t0000000000000400",
    "NoNewPrivs:\t1",
    "Seccomp:\t2",
    "no mknod",
    "sysctls are read-only",
    "sysrq is read-only",
    "0",
    "the root is read-only",
    "no namespaces",
    "no mounts",
];

/// What the defaults alone are: nothing is asked for, so that devices may be made, and not be opened.
const LOOK_BY_DEFAULT: &str = "grep -hE '^(Seccomp|CapEff|CapBnd):' /proc/self/status; \
    mknod /dev/disk b 254 0 2>/dev/null; head -c 1 /dev/disk 2>/dev/null || echo no disk; \
    mknod /dev/log c 1 11 2>/dev/null; (echo a container >/dev/log) 2>/dev/null || echo no kernel log; \
    (echo 1 >/proc/sys/kernel/panic) 2>/dev/null || echo sysctls are read-only; \
    unshare -m true 2>/dev/null || echo no namespaces; \
    echo x >/dev/null && head -c 3 /dev/zero | wc -c";

const SAID_BY_DEFAULT: [&str; 8] = [
    "CapEff:\t00000000a80425fb",
    "CapBnd:\t00000000a80425fb",
    "Seccomp:\t2",
    "no disk",
    "no kernel log",
    "sysctls are read-only",
    "no namespaces",
    "3",
];

/// A user with groups of its own and of the pod's, whose volume its group owns.
const LOOK_AT_USER: &str = "id -u; id -G; grep -hE '^(Seccomp|CapEff):' /proc/self/status; \
    touch /v/made && stat -c '%u:%g' /v/made; stat -c '%u:%g %a' /v";

const SAID_OF_USER: [&str; 6] =
    ["1000", "2000 3000 4000", "CapEff:\t0000000000000000", "Seccomp:\t2", "1000:4000", "0:4000 2777"];

/// Pods `strict`, with everything that can be asked for, `plain`, with nothing, and `user`, which runs as one; each with
/// `init` and `main`.
pub fn manifest() -> String {
    let strict = "securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, \
                  capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}, seccompProfile: {type: RuntimeDefault}}";
    let user = pod("user", LOOK_AT_USER, "volumeMounts: [{name: v, mountPath: /v}]");
    let ids = "securityContext: {runAsUser: 1000, runAsGroup: 2000, supplementalGroups: [3000], fsGroup: 4000}";
    let user = user.replace("spec:\n", &format!("spec:\n  {ids}\n  volumes: [{{name: v, emptyDir: {{}}}}]\n"));
    [pod("strict", LOOK, strict), pod("plain", LOOK_BY_DEFAULT, "tty: false"), user].join("---\n")
}

fn pod(name: &str, look: &str, fields: &str) -> String {
    let container = |name: &str, then: &str| {
        format!(
            "  - name: {name}
    image: '{DEMO}'
    imagePullPolicy: Never
    command: [sh, -c, \"{look}{then}\"]
    {fields}
"
        )
    };
    let init = container("init", "");
    let main = container("main", "; exec sleep 1000");
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
{init}  containers:
{main}"
    )
}

/// Every look at the pods as a shell's line with `kubectl`, and what it must say.
pub fn looks() -> Vec<(String, String)> {
    let mut looks = Vec::new();
    let all = [
        ("strict", LOOK, &SAID[..]),
        ("plain", LOOK_BY_DEFAULT, &SAID_BY_DEFAULT),
        ("user", LOOK_AT_USER, &SAID_OF_USER),
    ];
    for (pod, look, said) in all {
        let said = format!("{}\n", said.join("\n"));
        looks.push((format!("kubectl logs {pod} -c init"), said.clone()));
        looks.push((format!("kubectl logs {pod} -c main"), said.clone()));
        looks.push((format!("kubectl exec {pod} -c main -- sh -c \"{look}\""), said));
    }
    looks
}
