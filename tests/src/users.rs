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
