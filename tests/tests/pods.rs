//! What manifests ask of pods, in real containers and with a real kubectl.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use tests::cluster::{Cluster, DEMO};
use tests::program::eventually;
use tests::registry::Registry;

/// A pod of `spec`, in YAML's flow style; `IMAGE` stands for the demo's.
fn pod(name: &str, spec: &str) -> String {
    let spec = spec.replace("IMAGE", DEMO);
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n")
}

fn field(cluster: &Cluster, pod: &str, path: &str) -> String {
    cluster.kubectl(&["get", "pod", pod, "-o", &format!("jsonpath={{{path}}}")]).out
}

fn condition(cluster: &Cluster, pod: &str, name: &str) -> String {
    field(cluster, pod, &format!(".status.conditions[?(@.type==\"{name}\")].status"))
}

#[track_caller]
fn is_ready(cluster: &Cluster, pod: &str) {
    eventually(&format!("{pod} is ready"), 60, || condition(cluster, pod, "Ready") == "True");
}

#[track_caller]
fn ends_as(cluster: &Cluster, pod: &str, phase: &str) {
    eventually(&format!("{pod} is {phase}"), 60, || field(cluster, pod, ".status.phase") == phase);
}

/// What a shell in the pod's first container prints.
#[track_caller]
fn sh(cluster: &Cluster, pod: &str, script: &str) -> String {
    cluster.kubectl(&["exec", pod, "--", "sh", "-c", script]).ok().trim_end().to_owned()
}

#[test]
fn sidecars_start_in_order_serve_beside_and_end_last_in_reverse() {
    let cluster = Cluster::start();
    let log = cluster.path().join("log");
    std::fs::create_dir(&log).unwrap();
    let says = |name: &str| {
        format!(
            "image: 'IMAGE', lifecycle: {{stopSignal: SIGTERM}}, volumeMounts: [{{name: log, mountPath: /log}}], \
             command: [sh, -c, 'trap \"echo {name} down >> /log/log; exit 3\" TERM; echo {name} up >> /log/log; \
             while :; do sleep 0.1; done']"
        )
    };
    let volumes = format!("os: {{name: linux}}, volumes: [{{name: log, hostPath: {{path: '{}'}}}}]", log.display());
    let started = "startupProbe: {exec: {command: [test, -e, /log/go]}, periodSeconds: 1, failureThreshold: 600}";
    let spec = format!(
        "{volumes}, initContainers: [\
         {{name: first, restartPolicy: Always, {}, {started}}},\
         {{name: once, image: 'IMAGE', command: ['true']}},\
         {{name: second, restartPolicy: Always, {}, readinessProbe: {{exec: {{command: [test, -e, /log/ready]}}, periodSeconds: 1}}}}],\
         containers: [{{name: main, {}}}]",
        says("first"),
        says("second"),
        says("main"),
    );
    cluster.apply(&pod("web", &spec)).ok();
    eventually("the first sidecar runs", 30, || {
        !field(&cluster, "web", ".status.initContainerStatuses[0].state.running.startedAt").is_empty()
    });
    cluster.k("get pod web").shows("Init:0/3");
    let once = field(&cluster, "web", ".status.initContainerStatuses[1].state.waiting.reason");
    assert_eq!(once, "PodInitializing");
    std::fs::write(log.join("go"), "").unwrap();
    eventually("the pod is initialized", 30, || condition(&cluster, "web", "Initialized") == "True");
    ends_as(&cluster, "web", "Running");
    assert_eq!(condition(&cluster, "web", "Ready"), "False", "a sidecar's readiness is the pod's");
    std::fs::write(log.join("ready"), "").unwrap();
    is_ready(&cluster, "web");
    cluster.k("get pod web").shows("3/3");
    cluster.k("logs web -c second").ok();
    cluster.k("delete pod web --timeout=60s").ok();
    let lines = std::fs::read_to_string(log.join("log")).unwrap();
    assert_eq!(lines, "first up\nsecond up\nmain up\nmain down\nsecond down\nfirst down\n");

    // A Job counts what its main container says, and its pod is done only when the sidecar is.
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: job}}\nspec: {{template: {{spec: {{restartPolicy: Never, {volumes}, \
         initContainers: [{{name: side, restartPolicy: Always, {}}}], \
         containers: [{{name: main, image: 'IMAGE', command: [sh, -c, 'until grep -q \"side up\" /log/log; do sleep 0.1; done'], \
         volumeMounts: [{{name: log, mountPath: /log}}]}}]}}}}}}\n",
        says("side")
    );
    cluster.apply(&job.replace("IMAGE", DEMO)).ok();
    cluster.k("wait --for=condition=complete job/job --timeout=90s").ok();
    let path =
        "jsonpath={.items[0].status.phase} {.items[0].status.initContainerStatuses[0].state.terminated.exitCode}";
    assert_eq!(cluster.kubectl(&["get", "pods", "-l", "job-name=job", "-o", path]).ok(), "Succeeded 3");
    assert!(std::fs::read_to_string(log.join("log")).unwrap().ends_with("side up\nside down\n"));

    shared_namespaces(&cluster);
    static_pods(&cluster);
}

/// shareProcessNamespace, hostNetwork, hostPID and hostIPC.
fn shared_namespaces(cluster: &Cluster) {
    let sleep = "image: 'IMAGE', command: [sh, -c, 'trap \"exit 0\" TERM; while :; do sleep 0.1; done']";
    let manifests = [
        pod(
            "shared",
            &format!(
                "shareProcessNamespace: true, containers: [{{name: a, {sleep}}}, {{name: b, image: 'IMAGE', command: [sleep, '4321'], securityContext: {{capabilities: {{add: [SYS_PTRACE]}}}}}}]"
            ),
        ),
        pod("host", &format!("hostNetwork: true, hostPID: true, hostIPC: true, containers: [{{name: a, {sleep}}}]")),
        pod("own", &format!("containers: [{{name: a, {sleep}}}]")),
    ];
    cluster.apply(&manifests.concat()).ok();
    for name in ["shared", "host", "own"] {
        is_ready(cluster, name);
    }
    assert_eq!(sh(cluster, "shared", "busybox tr '\\0' ' ' < /proc/1/cmdline | busybox cut -d' ' -f1"), "/pause");
    let words = sh(cluster, "shared", "cat /proc/[0-9]*/cmdline | busybox tr '\\0' ' '; true");
    assert!(words.contains("sleep 4321"), "{words}");
    // Nothing of the host is behind the process that holds the namespace, even for one that may trace.
    let look = "ls /proc/1/root/ | wc -l; grep -c '^Cap[PEIA]..:.*[1-9a-f]' /proc/1/status";
    let said = cluster.kubectl(&["exec", "shared", "-c", "b", "--", "sh", "-c", look]);
    assert_eq!(said.out.split_whitespace().collect::<Vec<_>>(), ["0", "0"], "{said:?}");
    // Orphans are reaped, and a container that ends takes its own processes along.
    sh(cluster, "shared", "(sleep 0.2 &) ; sleep 0.6");
    assert!(!sh(cluster, "shared", "cat /proc/[0-9]*/stat; true").contains(" Z "));
    let kill = "for p in /proc/[0-9]*; do grep -q '432[1]' $p/cmdline && kill -9 ${p#/proc/}; done; true";
    sh(cluster, "shared", kill);
    eventually("the killed container is restarted", 30, || {
        field(cluster, "shared", ".status.containerStatuses[1].restartCount") == "1"
    });
    assert!(sh(cluster, "own", "cat /proc/1/cmdline").starts_with("sh"));

    let inside = |pod: &str, kind: &str| sh(cluster, pod, &format!("busybox readlink /proc/self/ns/{kind}"));
    let ours = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    for kind in ["pid", "ipc"] {
        assert_eq!(inside("host", kind), ours(kind), "{kind}");
        assert_ne!(inside("own", kind), ours(kind), "{kind}");
    }
    assert_ne!(inside("own", "net"), inside("host", "net"));
    let node = field(cluster, "host", ".status.hostIP");
    assert_eq!(field(cluster, "host", ".status.podIP"), node);
    assert!(sh(cluster, "host", "ip addr").contains(&node));
    for name in ["shared", "host", "own"] {
        cluster.kubectl(&["delete", "pod", name, "--grace-period=1", "--timeout=60s"]).ok();
    }
    assert_eq!(cluster.container_pids("pause").len(), 0);
}

#[test]
fn a_security_context_is_in_force_inside_and_volumes_follow_their_sources() {
    let cluster = Cluster::start();
    let profiles = cluster.data().join("seccomp");
    std::fs::create_dir(&profiles).unwrap();
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    std::fs::write(profiles.join("no-folders.json"), profile).unwrap();
    cluster.apply(&security_manifests()).ok();
    volumes(&cluster);
    security(&cluster);
    groups(&cluster);
    ends(&cluster);
}

const RUN: &str = "image: 'IMAGE', command: [sleep, '1000']";

fn security_manifests() -> String {
    let one = |name: &str, of_pod: &str, own: &str| {
        let spec = format!(
            "terminationGracePeriodSeconds: 0, securityContext: {{{of_pod}}}, volumes: [{{name: s, emptyDir: {{}}}}], \
             containers: [{{name: a, {RUN}, securityContext: {{{own}}}, volumeMounts: [{{name: s, mountPath: /s}}]}}]"
        );
        pod(name, &spec)
    };
    [
        one("ids", "runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000, supplementalGroups: [4000]", ""),
        one("tight", "", "allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}, readOnlyRootFilesystem: true"),
        one("privileged", "", "privileged: true"),
        one("unconfined", "seccompProfile: {type: Unconfined}", ""),
        one("profiled", "", "seccompProfile: {type: Localhost, localhostProfile: no-folders.json}"),
        one("unprofiled", "", "seccompProfile: {type: Localhost, localhostProfile: none.json}"),
        one("rootless", "runAsNonRoot: true", ""),
    ]
    .concat()
}

fn security(cluster: &Cluster) {
    for name in ["ids", "tight", "privileged", "unconfined", "profiled"] {
        is_ready(cluster, name);
    }
    let status = |pod: &str, key: &str| {
        let line = sh(cluster, pod, &format!("grep ^{key}: /proc/self/status"));
        line.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(
        sh(cluster, "ids", "id -u; id -g; id -G").split_whitespace().collect::<Vec<_>>(),
        ["1000", "3000", "3000", "2000", "4000"]
    );
    let groups = |pod: &str| sh(cluster, pod, "echo $(grep ^Groups: /proc/self/status | cut -f2)").trim().to_owned();
    assert_eq!((groups("ids").as_str(), groups("tight").as_str()), ("2000 3000 4000", "0"));
    assert_eq!(sh(cluster, "ids", "touch /s/f; stat -c '%u %g' /s/f"), "1000 2000");
    assert_eq!((status("ids", "Seccomp").as_str(), status("ids", "NoNewPrivs").as_str()), ("2", "0"));
    assert_eq!(status("tight", "NoNewPrivs"), "1");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(status("tight", set), "0000000000000400", "{set}");
    }
    cluster.kubectl(&["exec", "tight", "--", "touch", "/x"]).fails("Read-only file system");
    sh(cluster, "tight", "touch /s/x");
    let ours = std::fs::read_to_string("/proc/self/status").unwrap();
    let ours = ours.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim().to_owned();
    assert_eq!(status("privileged", "CapEff"), ours);
    for name in ["privileged", "unconfined"] {
        assert_eq!(status(name, "Seccomp"), "0", "{name}");
    }
    assert_eq!(status("profiled", "Seccomp"), "2");
    cluster.kubectl(&["exec", "profiled", "--", "mkdir", "/s/d"]).fails("No space left on device");
    let waiting =
        |pod: &str, what: &str| field(cluster, pod, &format!(".status.containerStatuses[0].state.waiting.{what}"));
    eventually("a missing profile is told", 30, || waiting("unprofiled", "reason") == "CreateContainerError");
    assert!(waiting("unprofiled", "message").contains("none.json"), "{}", waiting("unprofiled", "message"));
    eventually("an image's root is refused", 30, || waiting("rootless", "reason") == "CreateContainerConfigError");
    let message = waiting("rootless", "message");
    assert!(message.starts_with("container has runAsNonRoot and image will run as root"), "{message}");
}

/// What the image says of its user counts or not, as the pod has it, and the status says what came of it.
fn groups(cluster: &Cluster) {
    let look = "echo $(grep -E '^(Uid|Gid|Groups):' /proc/1/status)";
    let policies = [
        ("default", "", "1000 3000 4000"),
        ("merge", ", supplementalGroupsPolicy: Merge", "1000 3000 4000"),
        ("strict", ", supplementalGroupsPolicy: Strict", "3000 4000"),
    ];
    let manifest = |name: &str, policy: &str| {
        let spec = format!(
            "terminationGracePeriodSeconds: 0, securityContext: {{runAsUser: 65534, runAsGroup: 3000, supplementalGroups: [4000]{policy}}}, \
             initContainers: [{{name: i, image: 'IMAGE', command: [sh, -c, \"{look}\"]}}], containers: [{{name: a, {RUN}}}]"
        );
        pod(name, &spec)
    };
    cluster.apply(&policies.map(|(name, policy, _)| manifest(name, policy)).concat()).ok();
    for (name, _, groups) in policies {
        is_ready(cluster, name);
        let said = format!("Uid: 65534 65534 65534 65534 Gid: 3000 3000 3000 3000 Groups: {groups}");
        assert_eq!(sh(cluster, name, look).trim(), said, "{name}");
        assert_eq!(cluster.k(&format!("logs {name} -c i")).ok().trim(), said, "{name}");
        let told = format!("{{\"gid\":3000,\"supplementalGroups\":[{}],\"uid\":65534}}", groups.replace(' ', ","));
        for statuses in ["containerStatuses", "initContainerStatuses"] {
            assert_eq!(field(cluster, name, &format!(".status.{statuses}[0].user.linux")), told, "{name}");
        }
    }
    let node = cluster.k("get nodes -o jsonpath={.items[0].status.features}");
    assert_eq!(node.ok(), "{\"supplementalGroupsPolicy\":true}");
}

/// Files follow labels, annotations, ConfigMaps and Secrets; a subPath stays inside its volume.
fn volumes(cluster: &Cluster) {
    cluster.k("create configmap settings --from-literal=color=green").ok();
    cluster.k("create secret generic keys --from-literal=word=one").ok();
    let mounts = "volumeMounts: [{name: live, mountPath: /live}, {name: pod, mountPath: /pod}, {name: all, mountPath: /all}, \
         {name: all, mountPath: /fixed, subPath: color}, {name: logs, mountPath: /logs, subPathExpr: $(POD)/deep}, {name: logs, mountPath: /whole}]";
    let spec = format!(
        "terminationGracePeriodSeconds: 0, volumes: [{{name: live, configMap: {{name: settings}}}}, {{name: logs, emptyDir: {{}}}}, \
         {{name: pod, downwardAPI: {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}, {{path: annotations, fieldRef: {{fieldPath: metadata.annotations}}}}]}}}}, \
         {{name: all, projected: {{defaultMode: 0o440, sources: [{{configMap: {{name: settings}}}}, {{secret: {{name: keys, items: [{{key: word, path: deep/word}}]}}}}, \
         {{downwardAPI: {{items: [{{path: tier, fieldRef: {{fieldPath: \"metadata.labels['tier']\"}}}}]}}}}, {{serviceAccountToken: {{path: token, audience: vault, expirationSeconds: 600}}}}]}}}}], \
         containers: [{{name: a, {RUN}, env: [{{name: POD, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}], {mounts}}}]"
    );
    let live =
        pod("live", &spec).replace("{name: live}\n", "{name: live, labels: {tier: front}}\n").replace("0o440", "288");
    let escape = "terminationGracePeriodSeconds: 0, volumes: [{name: v, emptyDir: {}}], \
         initContainers: [{name: lay, image: 'IMAGE', command: [sh, -c, 'busybox ln -s /etc /v/out'], volumeMounts: [{name: v, mountPath: /v}]}], \
         containers: [{name: a, image: 'IMAGE', volumeMounts: [{name: v, mountPath: /a, subPath: out}]}]";
    cluster.apply(&(live + &pod("escape", escape))).ok();
    is_ready(cluster, "live");
    assert_eq!(sh(cluster, "live", "cat /pod/labels"), "tier=\"front\"");
    assert_eq!(
        sh(cluster, "live", "cat /live/color /all/color /all/deep/word /all/tier /fixed"),
        "greengreenonefrontgreen"
    );
    assert_eq!(sh(cluster, "live", "stat -L -c %a /all/color"), "440");
    let token = sh(cluster, "live", "cat /all/token");
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
    assert!(String::from_utf8(claims).unwrap().contains("\"aud\":[\"vault\"]"));
    sh(cluster, "live", "echo x > /logs/file; grep x /whole/live/deep/file");
    cluster.k("label pod live tier=back extra=yes --overwrite").ok();
    cluster.k("annotate pod live note=hello").ok();
    cluster.kubectl(&["patch", "configmap", "settings", "-p", "{\"data\": {\"color\": \"blue\"}}"]).ok();
    cluster.kubectl(&["patch", "secret", "keys", "-p", "{\"stringData\": {\"word\": \"two\"}}"]).ok();
    eventually("every file has followed", 30, || {
        sh(cluster, "live", "cat /live/color /all/color /all/deep/word /all/tier; grep -c hello /pod/annotations; true")
            == "bluebluetwoback1"
    });
    assert_eq!(sh(cluster, "live", "cat /pod/labels"), "extra=\"yes\"\ntier=\"back\"");
    assert_eq!(sh(cluster, "live", "cat /fixed"), "green", "a subPath stays what it was");
    assert_eq!(sh(cluster, "live", "ls -a /all | grep -c '^\\.\\.[0-9]'"), "1", "old files are removed");
    let message = ".status.containerStatuses[0].state.waiting.message";
    eventually("a link out of the volume is refused", 30, || {
        field(cluster, "escape", message).contains("failed to prepare subPath for volumeMount \"v\" of container \"a\"")
    });
    assert!(field(cluster, "escape", message).contains("leads out of the volume"));
}

/// Last words, a deadline, and an image that takes a Secret to pull.
fn ends(cluster: &Cluster) {
    let registry = Registry::start_guarded(&cluster.namespace);
    let archive = cluster.path().join("demo.tar");
    let image = registry.push(&cluster.namespace, &archive, "guarded:1");
    registry.push(&cluster.namespace, &archive, "other:1");
    let server = format!("--docker-server={}", registry.address);
    cluster
        .kubectl(&[
            "create",
            "secret",
            "docker-registry",
            "pull",
            &server,
            "--docker-username=somebody",
            "--docker-password=secret",
        ])
        .ok();
    let once = |name: &str, script: &str, more: &str| {
        pod(
            name,
            &format!(
                "restartPolicy: Never, containers: [{{name: a, image: 'IMAGE', command: [sh, -c, '{script}'], {more}}}]"
            ),
        )
    };
    let guarded = |name: &str, more: &str| {
        pod(
            name,
            &format!(
                "terminationGracePeriodSeconds: 0, {more} containers: [{{name: a, image: '{image}', command: [sleep, '1000']}}]"
            ),
        )
    };
    let manifests = [
        once("words", "echo because > /tmp/words; exit 3", "terminationMessagePath: /tmp/words"),
        once("tail", "echo last words; exit 4", "terminationMessagePolicy: FallbackToLogsOnError"),
        pod(
            "late",
            &format!("terminationGracePeriodSeconds: 1, activeDeadlineSeconds: 2, containers: [{{name: a, {RUN}}}]"),
        ),
        guarded("known", "imagePullSecrets: [{name: pull}],"),
        guarded("unknown", "").replace("guarded:1", "other:1"),
    ];
    cluster.apply(&manifests.concat()).ok();
    is_ready(cluster, "known");
    eventually("an image is not given to everybody", 30, || {
        let reason = field(cluster, "unknown", ".status.containerStatuses[0].state.waiting.reason");
        reason == "ErrImagePull" || reason == "ImagePullBackOff"
    });
    for (name, message) in [("words", "because\n"), ("tail", "last words\n")] {
        ends_as(cluster, name, "Failed");
        assert_eq!(field(cluster, name, ".status.containerStatuses[0].state.terminated.message"), message);
    }
    ends_as(cluster, "late", "Failed");
    assert_eq!(field(cluster, "late", ".status.reason"), "DeadlineExceeded");
    assert_eq!(
        field(cluster, "late", ".status.message"),
        "Pod was active on the node longer than the specified deadline"
    );
}

/// Manifests in a folder of the node: run without being asked for, shown by the API, and not deleted through it.
fn static_pods(cluster: &Cluster) {
    let folder = cluster.data().join("manifests");
    let node = cluster.k("get nodes -o jsonpath={.items[0].metadata.name}").ok().to_owned();
    let name = format!("fixed-{node}");
    let manifest = |seconds: u32| {
        pod(
            "fixed",
            &format!(
                "terminationGracePeriodSeconds: 0, containers: [{{name: a, image: 'IMAGE', command: [sleep, '{seconds}']}}]"
            ),
        )
    };
    std::fs::write(folder.join("fixed.yaml"), manifest(2001).trim_end_matches("---\n")).unwrap();
    let bad = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {serviceAccountName: x, containers: [{name: a, image: x}]}\n";
    std::fs::write(folder.join("bad.yaml"), bad).unwrap();
    is_ready(cluster, &name);
    assert!(cluster.log().contains("it has serviceAccountName"));
    cluster.k("get pods").ok();
    assert_eq!(field(cluster, &name, ".metadata.ownerReferences[0].kind"), "Node");
    let uid = field(cluster, &name, ".metadata.uid");
    assert_eq!(field(cluster, &name, ".metadata.annotations.kubernetes\\.io/config\\.mirror"), uid);
    assert!(sh(cluster, &name, "cat /proc/1/cmdline").contains("2001"));
    let container = || field(cluster, &name, ".status.containerStatuses[0].containerID");
    let (first, made) = (container(), field(cluster, &name, ".metadata.resourceVersion"));
    cluster.kubectl(&["delete", "pod", &name, "--wait=false"]).ok();
    eventually("the mirror is back", 30, || {
        field(cluster, &name, ".metadata.deletionTimestamp").is_empty()
            && field(cluster, &name, ".metadata.resourceVersion") != made
            && condition(cluster, &name, "Ready") == "True"
    });
    assert_eq!(container(), first, "the pod itself went on");
    let old = cluster.pid("agent").unwrap();
    cluster.kill_9("agent");
    eventually("another agent runs", 30, || cluster.pid("agent").is_some_and(|pid| pid != old));
    std::fs::write(folder.join("fixed.yaml"), manifest(2002).trim_end_matches("---\n")).unwrap();
    eventually("a changed manifest is another pod", 40, || {
        let now = field(cluster, &name, ".metadata.uid");
        !now.is_empty() && now != uid && condition(cluster, &name, "Ready") == "True"
    });
    assert!(sh(cluster, &name, "cat /proc/1/cmdline").contains("2002"));
    std::fs::remove_file(folder.join("fixed.yaml")).unwrap();
    eventually("it ends with its manifest", 30, || cluster.kubectl(&["get", "pod", &name]).err.contains("not found"));
    eventually("nothing of it runs", 30, || cluster.container_pids("sleep").is_empty());
}
