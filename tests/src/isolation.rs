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
    unshare -m true 2>/dev/null || echo no namespaces";

const SAID_BY_DEFAULT: [&str; 7] = [
    "CapEff:\t00000000a80425fb",
    "CapBnd:\t00000000a80425fb",
    "Seccomp:\t2",
    "no disk",
    "no kernel log",
    "sysctls are read-only",
    "no namespaces",
];

/// Pods `strict`, with everything that can be asked for, and `plain`, with nothing; each with `init` and `main`.
pub fn manifest() -> String {
    let strict = "securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, \
                  capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}, seccompProfile: {type: RuntimeDefault}}";
    [pod("strict", LOOK, strict), pod("plain", LOOK_BY_DEFAULT, "tty: false")].join("---\n")
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

/// Every look at the two pods as a shell's line with `kubectl`, and what it must say.
pub fn looks() -> Vec<(String, String)> {
    let mut looks = Vec::new();
    for (pod, look, said) in [("strict", LOOK, &SAID[..]), ("plain", LOOK_BY_DEFAULT, &SAID_BY_DEFAULT[..])] {
        let said = format!("{}\n", said.join("\n"));
        looks.push((format!("kubectl logs {pod} -c init"), said.clone()));
        looks.push((format!("kubectl logs {pod} -c main"), said.clone()));
        looks.push((format!("kubectl exec {pod} -c main -- sh -c \"{look}\""), said));
    }
    looks
}
