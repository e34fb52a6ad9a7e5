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

#[test]
fn a_full_card_is_told_keeps_new_pods_away_and_costs_the_images_that_no_pod_names() {
    let mut lab = Lab::prepare("");
    let token = lab.token(&[]);
    let unused = lab.path().join("unused.tar");
    // Of another content than the demo's, which would be the same image by another name.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo-image");
    Said::by(Command::new(script).arg(&unused).args([UNUSED, "/bin/true"])).ok();
    let config = lab.path().join("agent.yaml");
    std::fs::write(&config, "imageMinimumGCAge: 0s\n").unwrap();
    let machine = lab.add_machine("n1", "192.168.78.11");
    let data = machine.data();
    // Its own small disk, which ends with it.
    machine.sh(&format!("mkdir -p {0} && mount -t tmpfs -o size=64m card {0}", data.display())).ok();
    machine.start_agent(&["--join", &token, "--config", config.to_str().unwrap()]);
    machine.agent(&["image", "import", unused.to_str().unwrap()]).ok();
    lab.import_demo_on(0);
    lab.wait_ready(1);
    assert_eq!(condition(&lab, "DiskPressure"), "False");
    lab.k(&format!("run first --image={DEMO}")).ok();
    lab.k("wait pod first --for=condition=Ready --timeout=60s").ok();
    lab.nodes[0].agent(&["image", "list"]).shows(UNUSED);
    let free = format!("stat -f -c '%a * %S - 4194304' {}", data.display());
    lab.nodes[0].sh(&format!("fallocate -l $(($({free}))) {}/filler", data.display())).ok();
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
    assert_eq!(lab.field("pod first", "{.status.phase}"), "Running");
    // Inside the machine, since its pid file cannot be seen from outside.
    lab.nodes[0].agent(&["stop"]).ok();
}

#[test]
fn a_node_without_memory_ends_pods_one_by_one_and_says_so() {
    let mut lab = Lab::start(1);
    lab.k(&format!("run pod --image={DEMO}")).ok();
    lab.k("wait pod pod --for=condition=Ready --timeout=60s").ok();
    // No machine has all of its memory free: what others of this one do is no part of the test.
    let config = lab.path().join("agent.yaml");
    std::fs::write(&config, "evictionHard: {memory.available: 100%}\n").unwrap();
    lab.nodes[0].stop_agent(nix::sys::signal::Signal::SIGTERM);
    lab.nodes[0].start_agent(&["--config", config.to_str().unwrap()]);
    eventually("the pod is evicted", 60, || lab.field("pod pod", "{.status.reason}") == "Evicted");
    assert_eq!(lab.field("pod pod", "{.status.phase}"), "Failed");
    let message = lab.field("pod pod", "{.status.message}");
    assert!(
        message.starts_with("The node was low on resource: memory. Threshold quantity: 100%, available: "),
        "{message}"
    );
    eventually("the Node says so", 60, || condition(&lab, "MemoryPressure") == "True");
    lab.k("get events --field-selector reason=Evicted").shows("low on resource: memory");
}
