//! A node that runs short of what its pods share.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::path::Path;
use std::process::Command;

use tests::cluster::DEMO;
use tests::lab::Lab;
use tests::program::{Said, eventually};

const UNUSED: &str = "bramble.local/unused:1";

fn condition(lab: &Lab, name: &str) -> String {
    lab.field("node n1", &format!("{{.status.conditions[?(@.type==\"{name}\")].status}}"))
}

/// What is to be free of 64 MiB by default.
const LEAST_BYTES: u64 = (64 << 20) / 10;

/// A node whose data lie on a disk of 64 MiB, which ends with it, and hold an image of 4 MiB that no pod names.
fn on_a_small_disk(config: &str) -> Lab {
    let mut lab = Lab::prepare("");
    let token = lab.token(&[]);
    let (large, unused) = (lab.path().join("large"), lab.path().join("unused.tar"));
    std::fs::write(&large, vec![b'x'; 4 << 20]).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo-image");
    Said::by(Command::new(script).args([&unused, Path::new(UNUSED), &large])).ok();
    let file = lab.path().join("agent.yaml");
    std::fs::write(&file, config).unwrap();
    let machine = lab.add_machine("n1", "192.168.78.11");
    let data = machine.data();
    machine.sh(&format!("mkdir -p {0} && mount -t tmpfs -o size=64m,nr_inodes=4000 card {0}", data.display())).ok();
    machine.start_agent(&["--join", &token, "--config", file.to_str().unwrap()]);
    machine.agent(&["image", "import", unused.to_str().unwrap()]).ok();
    lab.import_demo_on(0);
    lab.wait_ready(1);
    assert_eq!(condition(&lab, "DiskPressure"), "False");
    lab
}

/// `%a` for free blocks of 4 KiB, `%d` for free inodes.
fn free(lab: &Lab, what: &str) -> u64 {
    lab.nodes[0].sh(&format!("stat -f -c {what} {}", lab.nodes[0].data().display())).ok().trim().parse().unwrap()
}

/// Waits until the pod has had to go, and gives the reason.
fn evicted(lab: &Lab, pod: &str) -> String {
    eventually("the pod is evicted", 60, || lab.field(&format!("pod {pod}"), "{.status.phase}") == "Failed");
    assert_eq!(lab.field(&format!("pod {pod}"), "{.status.reason}"), "Evicted");
    lab.field(&format!("pod {pod}"), "{.status.message}")
}

/// A shell line where the pod's volume `scratch` lies, which does not end with the pod as one in the pod would.
fn in_scratch(lab: &Lab, pod: &str, line: &str) {
    let (data, uid) = (lab.nodes[0].data(), lab.field(&format!("pod {pod}"), "{.metadata.uid}"));
    lab.nodes[0].sh(&format!("cd {}/pods/{uid}/volumes/scratch && {line}", data.display()));
}

fn pod(name: &str, spec: &str) -> String {
    format!("---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{{spec}}}}}\n")
}

#[test]
fn a_full_card_is_told_keeps_new_pods_away_and_costs_the_images_that_no_pod_names() {
    // However young they are: the disk is needed now.
    let lab = on_a_small_disk("imageMinimumGCAge: 1h\n");
    lab.k(&format!("run first --image={DEMO}")).ok();
    lab.k("wait pod first --for=condition=Ready --timeout=60s").ok();
    lab.nodes[0].agent(&["image", "list"]).shows(UNUSED);
    let filler = free(&lab, "%a") * 4096 - (LEAST_BYTES - (1 << 20));
    lab.nodes[0].sh(&format!("fallocate -l {filler} {}/filler", lab.nodes[0].data().display())).ok();
    eventually("the Node says so", 60, || condition(&lab, "DiskPressure") == "True");
    let taint = "{.spec.taints[?(@.key==\"node.kubernetes.io/disk-pressure\")].effect}";
    eventually("it is tainted", 60, || lab.field("node n1", taint) == "NoSchedule");
    eventually("the unused image is gone", 60, || !lab.nodes[0].agent(&["image", "list"]).out.contains(UNUSED));
    lab.nodes[0].agent(&["image", "list"]).shows(DEMO);
    lab.k(&format!("run second --image={DEMO}")).ok();
    eventually("the scheduler says why", 60, || {
        lab.k("get events").out.contains("untolerated taint {node.kubernetes.io/disk-pressure: }")
    });
    assert_eq!(lab.field("pod second", "{.status.phase}"), "Pending");
    assert_eq!(lab.field("pod first", "{.status.phase}"), "Running", "the image was enough");
    // Inside the machine, since its pid file cannot be seen from outside.
    lab.nodes[0].agent(&["stop"]).ok();
}

#[test]
fn the_pod_that_fills_the_disk_goes_where_images_are_not_enough() {
    let lab = on_a_small_disk("");
    let image = format!("image: {DEMO}");
    let scratch = "volumes: [{name: scratch, emptyDir: {}}]";
    let mounts = "volumeMounts: [{name: scratch, mountPath: /scratch}]";
    let asks = "resources: {requests: {ephemeral-storage: 20Mi}}";
    let pods = [
        pod("modest", &format!("containers: [{{name: web, {image}, {asks}}}]")),
        pod("greedy", &format!("containers: [{{name: web, {image}, {mounts}}}], {scratch}")),
        pod("many", &format!("containers: [{{name: web, {image}, {mounts}}}], {scratch}")),
    ];
    lab.apply(&pods.concat()).ok();
    lab.k("wait pod --all --for=condition=Ready --timeout=60s").ok();
    lab.in_pod("modest", "dd if=/dev/zero of=/written bs=1M count=5").ok();

    let files = free(&lab, "%d") - 100;
    in_scratch(&lab, "many", &format!("seq {files} | xargs touch"));
    let message = evicted(&lab, "many");
    assert!(
        message.starts_with("The node was low on resource: inodes. Threshold quantity: 200, available: "),
        "{message}"
    );
    assert!(!lab.nodes[0].agent(&["image", "list"]).out.contains(UNUSED), "images go first");
    eventually("what was written is gone with the pod", 60, || free(&lab, "%d") > files);

    lab.in_pod("greedy", "dd if=/dev/zero of=/written bs=1M count=2").ok();
    let rest = free(&lab, "%a") / 256 - 4;
    in_scratch(&lab, "greedy", &format!("fallocate -l {rest}M filler"));
    let message = evicted(&lab, "greedy");
    let start = "The node was low on resource: ephemeral-storage. Threshold quantity: 6710886, available: ";
    assert!(message.starts_with(start), "{message}");
    assert!(message.contains(" Container web was using 2"), "{message}");
    assert!(message.ends_with("i, request is 0, has larger consumption of ephemeral-storage. "), "{message}");
    eventually("there is room again", 60, || free(&lab, "%a") * 4096 > LEAST_BYTES);
    assert_eq!(lab.field("pod modest", "{.status.phase}"), "Running", "it takes no more than it asked for");
    let events = lab.k("get events");
    events.shows("Attempting to reclaim inodes");
    events.shows("Attempting to reclaim ephemeral-storage");
    lab.nodes[0].agent(&["stop"]).ok();
}

/// Restarts the only node's agent where no machine has enough: what others of this one do is no part of the test.
fn lacking(lab: &mut Lab, signal: &str) {
    let config = lab.path().join("agent.yaml");
    std::fs::write(&config, format!("evictionHard: {{{signal}: 100%}}\n")).unwrap();
    lab.nodes[0].stop_agent(nix::sys::signal::Signal::SIGTERM);
    lab.nodes[0].start_agent(&["--config", config.to_str().unwrap()]);
}

#[test]
fn a_node_without_memory_ends_pods_one_by_one_and_says_so() {
    let mut lab = Lab::start(1);
    lab.k(&format!("run pod --image={DEMO}")).ok();
    lab.k("wait pod pod --for=condition=Ready --timeout=60s").ok();
    lacking(&mut lab, "memory.available");
    let message = evicted(&lab, "pod");
    let (start, rest) = message.split_at(message.find(" Container ").unwrap_or_default());
    assert!(start.starts_with("The node was low on resource: memory. Threshold quantity: "), "{message}");
    assert!(start.contains("i, available: ") && start.ends_with("i."), "{message}");
    assert!(rest.starts_with(" Container pod was using "), "{message}");
    assert!(rest.ends_with("i, request is 0, has larger consumption of memory. "), "{message}");
    let target = "{.status.conditions[?(@.type==\"DisruptionTarget\")].reason}";
    assert_eq!(lab.field("pod pod", target), "TerminationByKubelet");
    eventually("the Node says so", 60, || condition(&lab, "MemoryPressure") == "True");
    lab.k("get events --field-selector reason=Evicted").shows("low on resource: memory");
}

#[test]
fn a_node_without_process_numbers_ends_the_pod_with_the_most_first() {
    let mut lab = Lab::start(1);
    let sleepers = "for i in $(seq 20); do sleep 10000 & done; wait";
    let many = format!("containers: [{{name: many, image: \"{DEMO}\", command: [sh, -c, \"{sleepers}\"]}}]");
    lab.apply(&[pod("many", &many), pod("few", &many.replace("20", "2"))].concat()).ok();
    lab.k("wait pod --all --for=condition=Ready --timeout=60s").ok();
    eventually("all of them sleep", 60, || lab.in_pod("many", "ps | grep -c '[s]leep 10000$'").out.trim() == "20");
    lacking(&mut lab, "pid.available");
    for name in ["many", "few"] {
        let message = evicted(&lab, name);
        assert!(message.starts_with("The node was low on resource: pids. Threshold quantity: "), "{message}");
        assert!(!message.contains("Container"), "{message}");
    }
    let listed = lab.kubectl(&[
        "get",
        "events",
        "--field-selector=reason=Evicted",
        "-o=jsonpath={range .items[*]}{.metadata.resourceVersion} {.involvedObject.name}{\"\\n\"}{end}",
    ]);
    let mut order: Vec<(u64, &str)> = listed
        .ok()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(at, name)| (at.parse().unwrap(), name))
        .collect();
    order.sort_unstable();
    assert_eq!(order.iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["many", "few"]);
    eventually("the Node says so", 60, || condition(&lab, "PIDPressure") == "True");
}

/// A pod on the node whatever the scheduler thinks, as a DaemonSet's is that tolerates every taint.
fn placed(lab: &Lab, name: &str, spec: &str) {
    let tolerations = "nodeName: n1, tolerations: [{operator: Exists}]";
    lab.apply(&pod(name, &format!("{tolerations}, containers: [{{name: main, image: {DEMO}{spec}}}]"))).ok();
}

#[test]
fn a_node_short_of_something_refuses_what_tolerates_its_taint() {
    let mut lab = Lab::start(1);
    // So much is never free, and nothing is to be ended for it that arrives later.
    lacking(&mut lab, "nodefs.inodesFree");
    eventually("the Node says so", 60, || condition(&lab, "DiskPressure") == "True");
    let words = "The node had condition: [DiskPressure]. ";
    placed(&lab, "asking", ", resources: {requests: {memory: 1Mi}}");
    assert_eq!(evicted(&lab, "asking"), format!("Pod was rejected: {words}"));
    lab.k("get pod asking --no-headers").shows("Evicted");
    eventually("it is told", 60, || lab.k("get events --field-selector reason=Evicted").out.contains(words.trim_end()));
    let set = format!(
        "---\n{{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: set}}, spec: {{selector: {{matchLabels: {{app: set}}}}, \
         template: {{metadata: {{labels: {{app: set}}}}, spec: {{containers: [{{name: main, image: {DEMO}}}]}}}}}}}}\n"
    );
    lab.apply(&set).ok();
    // Made anew after ever longer pauses, and refused each time.
    eventually("the DaemonSet's pods are refused", 60, || {
        lab.k("get events --field-selector reason=FailedDaemonPod").out.lines().count() > 1
    });
    assert_eq!(lab.field("daemonset set", "{.status.numberReady}"), "0");
    assert_eq!(lab.k("exec asking -- true").code, 1, "nothing of it ever ran");

    lab.k("delete pod,daemonset --all").ok();
    lacking(&mut lab, "memory.available");
    eventually("the Node says so", 60, || condition(&lab, "MemoryPressure") == "True");
    // Its images went for the sake of the disk.
    lab.import_demo();
    eventually("its disk is forgotten", 60, || condition(&lab, "DiskPressure") == "False");
    let plain = format!("nodeName: n1, containers: [{{name: main, image: {DEMO}}}]");
    lab.apply(&pod("plain", &plain)).ok();
    assert_eq!(evicted(&lab, "plain"), "Pod was rejected: The node had condition: [MemoryPressure]. ");
    // It is taken, and then goes like any other.
    placed(&lab, "tolerant", "");
    assert!(evicted(&lab, "tolerant").starts_with("The node was low on resource: memory."));
}

#[test]
fn a_pod_that_takes_more_of_the_disk_than_it_may_goes() {
    let lab = Lab::start(1);
    let image = format!("image: {DEMO}");
    let limit = |size: &str| format!("resources: {{limits: {{ephemeral-storage: {size}}}}}");
    let mounts = "volumeMounts: [{name: scratch, mountPath: /scratch}]";
    let pods = [
        pod(
            "volume",
            &format!(
                "containers: [{{name: web, {image}, {mounts}}}], volumes: [{{name: scratch, emptyDir: {{sizeLimit: 1Mi}}}}]"
            ),
        ),
        pod(
            "whole",
            &format!(
                "containers: [{{name: web, {image}, {mounts}, {}}}], volumes: [{{name: scratch, emptyDir: {{}}}}]",
                limit("2Mi")
            ),
        ),
        pod(
            "part",
            &format!(
                "containers: [{{name: web, {image}, {}}}, {{name: rest, {image}, command: [sleep, \"10000\"], {}}}]",
                limit("2Mi"),
                limit("100Mi")
            ),
        ),
        pod("fine", &format!("containers: [{{name: web, {image}, {}}}]", limit("100Mi"))),
    ];
    lab.apply(&pods.concat()).ok();
    lab.k("wait pod --all --for=condition=Ready --timeout=60s").ok();
    for name in ["volume", "whole"] {
        in_scratch(&lab, name, "fallocate -l 3M filler");
    }
    for name in ["part", "fine"] {
        lab.in_pod(name, "dd if=/dev/zero of=/filler bs=1M count=3");
    }
    assert_eq!(evicted(&lab, "volume"), "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". ");
    let whole = "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ";
    assert_eq!(evicted(&lab, "whole"), whole);
    assert_eq!(evicted(&lab, "part"), "Container web exceeded its local ephemeral storage limit \"2Mi\". ");
    assert_eq!(lab.field("pod fine", "{.status.phase}"), "Running");
    assert_eq!(condition(&lab, "DiskPressure"), "False");
}

#[test]
fn the_kernel_tells_when_something_waits_for_memory() {
    if !Path::new("/proc/pressure/memory").exists() {
        eprintln!("this kernel does not tell");
        return;
    }
    let lab = Lab::start(1);
    // Its files do not fit into its memory, so that it reads them again and again, and waits for room for them.
    let line = "dd if=/dev/zero of=/large bs=1M count=64; while :; do cat /large > /dev/null; done";
    let limits = "resources: {limits: {memory: 16Mi}}";
    lab.apply(&pod(
        "reader",
        &format!("containers: [{{name: reader, image: \"{DEMO}\", command: [sh, -c, \"{line}\"], {limits}}}]"),
    ))
    .ok();
    let stalls = || {
        let page = lab.nodes[0].sh("curl -s http://127.0.0.1:10249/metrics").out;
        page.lines()
            .find_map(|line| line.strip_prefix("bramble_agent_memory_stalls ")?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    eventually("the agent is told", 60, || stalls() > 0);
}
