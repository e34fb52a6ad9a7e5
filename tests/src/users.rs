//! A pod with users of its own and every kind of volume, and what its containers and the host must say of it.

use crate::cluster::DEMO;

/// Who a process is, inside.
pub const WHO: &str = "echo $(id -u) $(cat /proc/self/uid_map) $(cat /proc/self/gid_map)";

/// Pods `NAME` that have nothing but users of their own.
pub fn plain(name: &str, fields: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 0
  {fields}
  containers:
  - {{name: main, image: '{DEMO}', imagePullPolicy: Never, command: [sleep, '1000']}}
"
    )
}

/// A Secret, a ConfigMap, a claim, and the pod `full` that mounts them and `host`.
pub fn full(host: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: s}}
stringData: {{key: hidden}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: c}}
data: {{key: shown}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: p}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: full, labels: {{app: full}}}}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 0
  securityContext: {{fsGroup: 2000}}
  initContainers:
  - {{name: init, image: '{DEMO}', imagePullPolicy: Never, command: [sh, -c, '{WHO}']}}
  containers:
  - name: main
    image: '{DEMO}'
    imagePullPolicy: Never
    command: [sh, -c, '{WHO}; exec sleep 1000']
    volumeMounts: &all
    - {{name: e, mountPath: /v/empty}}
    - {{name: m, mountPath: /v/memory}}
    - {{name: s, mountPath: /v/secret}}
    - {{name: c, mountPath: /v/config}}
    - {{name: d, mountPath: /v/downward}}
    - {{name: p, mountPath: /v/claim}}
    - {{name: h, mountPath: /v/host}}
    - {{name: h, mountPath: /v/part, subPath: part}}
  - name: user
    image: '{DEMO}'
    imagePullPolicy: Never
    command: [sleep, '1000']
    securityContext: {{runAsUser: 1000, runAsGroup: 3000}}
    volumeMounts: *all
  volumes:
  - {{name: e, emptyDir: {{}}}}
  - {{name: m, emptyDir: {{medium: Memory}}}}
  - {{name: s, secret: {{secretName: s, defaultMode: 0400}}}}
  - {{name: c, configMap: {{name: c}}}}
  - {{name: d, downwardAPI: {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]}}}}
  - {{name: p, persistentVolumeClaim: {{claimName: p}}}}
  - {{name: h, hostPath: {{path: '{host}', type: Directory}}}}
"
    )
}

/// Pods with users of their own for a machine whose kernel maps owners on disks and not in memory: `disk` needs no memory,
/// `hungry` more than it may have, and `token` has what every pod gets. `disk` is to be there before the others.
pub fn on_disk() -> [String; 2] {
    let fields = "automountServiceAccountToken: false\n  restartPolicy: Never\n  securityContext: {fsGroup: 2000}";
    let volumes = "volumes: [{name: e, emptyDir: {}}, {name: c, configMap: {name: c}}]";
    let mounts = "volumeMounts: [{name: e, mountPath: /v/empty}, {name: c, mountPath: /v/config}]";
    let disk = plain("disk", &format!("{fields}\n  {volumes}"));
    let disk = disk.replace("'1000']", &format!("'4321'], {mounts}, resources: {{limits: {{memory: 64Mi}}}}"));
    let hungry = plain("hungry", fields);
    let hungry = hungry.replace("[sleep, '1000']", "[tail, /dev/zero], resources: {limits: {memory: 16Mi}}");
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {key: shown}\n".to_owned();
    [[config, disk].join("---\n"), [hungry, plain("token", "")].join("---\n")]
}

/// Lines of the machine's own shell, and what they must say: `disk` has the first ids that are given out.
pub fn looks_on_disk(agent: &str, data_dir: &str) -> Vec<(String, String)> {
    let inside = |script: &str| format!("kubectl exec disk -- sh -c '{script}'");
    let field = |pod: &str, path: &str| {
        format!("kubectl get pod {pod} -o 'jsonpath={{.status.containerStatuses[0].state.{path}}}'; echo")
    };
    let why = "its file system cannot be mounted with a user namespace's ids on this kernel";
    let owners = "stat -c \"%n %u:%g %a\" /bin /etc/hosts /v/empty /v/config/..data/key; cat /v/config/key; echo";
    let make = "touch /made /v/empty/made; chown 70000 /made 2>/dev/null || echo no such user; \
                mknod /dev/disk b 254 0 2>/dev/null || echo no devices; \
                (echo 1 >/proc/sys/vm/drop_caches) 2>/dev/null || echo no sysctls";
    let limit = "cat /sys/fs/cgroup/memory.max; grep Seccomp: /proc/self/status";
    let looks = [
        (inside(WHO), "0 0 65536 65536 0 65536 65536"),
        (inside(limit), "67108864\nSeccomp:\t2"),
        (
            inside(owners),
            "/bin 0:0 755\n/etc/hosts 0:0 644\n/v/empty 0:2000 2777\n/v/config/..data/key 0:2000 644\nshown",
        ),
        (inside(make), "no such user\nno devices\nno sysctls"),
        (
            "for p in /proc/[0-9]*; do if tr '\\0' ' ' 2>/dev/null <$p/cmdline | grep -q '^sleep 4321'; \
             then stat -c %u:%g $p; fi; done"
                .to_owned(),
            "65536:65536",
        ),
        (format!("stat -c %u:%g {data_dir}/containers/*/upper/made"), "65536:65536"),
        (format!("stat -c %u:%g {data_dir}/pods/*/volumes/e/made"), "0:2000"),
        (field("hungry", "terminated.reason"), "OOMKilled"),
        (field("token", "waiting.reason"), "CreateContainerError"),
        (format!("({}) | grep -o \"{why}\"", field("token", "waiting.message")), why),
        (
            "kubectl get node guest -o 'jsonpath={.status.runtimeHandlers[0].features}'; echo".to_owned(),
            r#"{"recursiveReadOnlyMounts":true,"userNamespaces":false}"#,
        ),
        (
            format!("{agent} --data-dir {data_dir} doctor | grep -c '^look .*hostUsers: false run without a Secret'"),
            "1",
        ),
    ];
    looks.into_iter().map(|(line, said)| (line, format!("{said}\n"))).collect()
}
