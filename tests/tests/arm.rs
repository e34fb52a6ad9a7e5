//! One cluster of three architectures: a server and a node on x86, and two cards in emulated ARM machines.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;
use std::fs;

use tests::guest::arch::Arch;
use tests::guest::card::CardMachine;
use tests::lab::Lab;
use tests::lab::dhcp::Dhcp;
use tests::program::eventually;
use tests::registry::{Registry, demo_index};

const ARCHS: [Arch; 3] = [Arch::X86_64, Arch::Aarch64, Arch::Armv7];
const ROUTER: &str = "192.168.78.254";
/// Two machines start at once on two emulated processors each, beside whatever else is tested.
const READY_SECONDS_MAX: u64 = 300;

/// A web server a node, which answers with what its processor is.
const WEB: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: IMAGE
          command: [sh, -c, "echo started on $(uname -m); uname -m > /www/index.html; exec httpd -f -p 8080 -h /www"]
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 2}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
"#;

/// Eats memory until it is stopped; and one without a seccomp profile, to compare with.
const LIMITS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: glutton-ARCH, labels: {app: glutton}}
spec:
  nodeSelector: {kubernetes.io/arch: ARCH}
  restartPolicy: Never
  containers:
    - name: glutton
      image: IMAGE
      command: [tail, /dev/zero]
      resources: {limits: {memory: 24Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: unconfined-ARCH}
spec:
  nodeSelector: {kubernetes.io/arch: ARCH}
  terminationGracePeriodSeconds: 0
  containers:
    - name: unconfined
      image: IMAGE
      command: [sleep, "10000"]
      securityContext: {seccompProfile: {type: Unconfined}}
"#;

struct Cluster {
    cards: Vec<CardMachine>,
    lab: Lab,
    _registry: Registry,
    _dhcp: Dhcp,
    image: String,
    /// The same, for x86 alone.
    pc_image: String,
}

/// What a card is told on its FAT partition.
fn settings(hostname: &str, token: &str) -> String {
    format!(
        "role = \"agent\"\r\nhostname = \"{hostname}\"\r\njoin = \"{token}\"\r\n\
         [agent.registries]\r\ninsecure = [\"{ROUTER}:5000\"]\r\n"
    )
}

fn start() -> Cluster {
    let mut lab = Lab::prepare("");
    let registry = Registry::start_at(lab.lan.router(), ROUTER);
    let image = demo_index(&registry, lab.lan.router(), &ARCHS, "web:1");
    let pc_image = demo_index(&registry, lab.lan.router(), &ARCHS[..1], "pc:1");
    let addresses = ["192.168.78.31", "192.168.78.32"];
    let dhcp = Dhcp::start(&lab.lan, &addresses);
    let config = lab.path().join("agent.yaml");
    fs::write(&config, format!("registries: {{insecure: [\"{ROUTER}:5000\"]}}\n")).unwrap();
    let mut cards = Vec::new();
    for (arch, address) in [Arch::Aarch64, Arch::Armv7].into_iter().zip(addresses) {
        let settings = settings(arch.machine(), &lab.token(&[]));
        cards.push(CardMachine::flash(&lab.lan, arch, address, &settings));
    }
    // As a board without a clock that keeps running has it.
    "2023-05-01T00:00:00".clone_into(&mut cards[1].clock);
    cards.iter_mut().for_each(|card| card.power_on(&lab.lan));
    let token = lab.token(&[]);
    let config = config.display().to_string();
    lab.add_machine("x86", "192.168.78.11").start_agent(&["--join", &token, "--config", &config]);
    Cluster { cards, lab, _registry: registry, _dhcp: dhcp, image, pc_image }
}

impl Cluster {
    /// The web server on a node of this architecture.
    fn server(&self, arch: Arch) -> String {
        let node =
            self.lab.field(&format!("nodes -l kubernetes.io/arch={}", arch.kubernetes()), "{.items[*].metadata.name}");
        let name = self
            .lab
            .field(&format!("pods -l app=web --field-selector spec.nodeName={node}"), "{.items[*].metadata.name}");
        assert!(!name.is_empty() && !name.contains(' '), "one server on {node}: {name}");
        name
    }
}

#[test]
fn cards_for_both_arms_join_by_themselves_and_serve_beside_an_x86_node() {
    let mut cluster = start();
    cluster.lab.wait_ready_within(3, READY_SECONDS_MAX);
    for card in &cluster.cards {
        println!("{}: not later than {} s after power on", card.arch.machine(), card.switched_on().elapsed().as_secs());
    }
    let lab = &cluster.lab;
    lab.apply(&WEB.replace("IMAGE", &cluster.image)).ok();
    let limits = [Arch::Aarch64, Arch::Armv7].map(|arch| LIMITS.replace("ARCH", arch.kubernetes()));
    lab.apply(&limits.join("---").replace("IMAGE", &cluster.image)).ok();
    lab.k("rollout status daemonset/web --timeout=180s").ok();
    each_runs_its_own_architecture(&cluster);
    all_reach_the_service(&cluster);
    limits_hold(lab);
    for arch in [Arch::Aarch64, Arch::Armv7] {
        seccomp_and_devices_hold(&cluster, arch);
    }
    an_image_for_x86_alone_stays_off_the_arms(&cluster);
    tokens_are_gone(&mut cluster);
}

fn an_image_for_x86_alone_stays_off_the_arms(cluster: &Cluster) {
    let Cluster { lab, pc_image: image, .. } = cluster;
    lab.k(&format!("create deployment pc --image={image} --replicas=4")).ok();
    lab.k("rollout status deployment/pc --timeout=90s").ok();
    assert_eq!(lab.field("pods -l app=pc", "{.items[*].spec.nodeName}"), "x86 x86 x86 x86");
    let overrides = "{\"spec\":{\"nodeSelector\":{\"kubernetes.io/arch\":\"arm64\"}}}";
    lab.kubectl(&["run", "stray", "--image", image, "--overrides", overrides]).ok();
    let told = format!("do not run a platform of image \"{image}\" (linux/amd64)");
    eventually("the pod's events say why", 30, || {
        lab.k("get events --field-selector reason=FailedScheduling").out.contains(&told)
    });
    assert_eq!(lab.field("pod stray", "{.spec.nodeName}"), "");
}

fn each_runs_its_own_architecture(cluster: &Cluster) {
    for arch in ARCHS {
        let server = cluster.server(arch);
        cluster.lab.k(&format!("exec {server} -- uname -m")).shows(arch.machine());
        cluster.lab.k(&format!("logs {server}")).shows(&format!("started on {}", arch.machine()));
    }
}

/// By its name, from each pod, and by its address from the x86 node itself: so from x86 to ARM, back, and between the ARMs.
fn all_reach_the_service(cluster: &Cluster) {
    let all: BTreeSet<&str> = ARCHS.iter().map(|arch| arch.machine()).collect();
    let often =
        |target: &str| format!("for i in $(seq 30); do timeout 20 wget -q -O - http://{target}/ || exit 1; done");
    for arch in ARCHS {
        let server = cluster.server(arch);
        eventually(&format!("{server} is answered by all"), 60, || {
            let said = cluster.lab.in_pod(&server, &often("web.default.svc.cluster.local"));
            said.code == 0 && said.out.lines().collect::<BTreeSet<_>>() == all
        });
    }
    let address = cluster.lab.field("service web", "{.spec.clusterIP}");
    let said = cluster.lab.nodes[0].sh(&often(&address));
    assert_eq!(said.ok().lines().collect::<BTreeSet<_>>(), all);
}

/// The kernel of the card ends who takes more memory than was granted, and the pod's status says so.
fn limits_hold(lab: &Lab) {
    for arch in [Arch::Aarch64, Arch::Armv7] {
        let pod = format!("pod glutton-{}", arch.kubernetes());
        let state = "{.status.containerStatuses[0].state.terminated.reason} {.status.containerStatuses[0].state.terminated.exitCode}";
        eventually("the glutton was stopped", 90, || !lab.field(&pod, state).trim().is_empty());
        assert_eq!(lab.field(&pod, state), "OOMKilled 137", "{pod}");
    }
}

fn seccomp_and_devices_hold(cluster: &Cluster, arch: Arch) {
    let (lab, server) = (&cluster.lab, cluster.server(arch));
    // The first process, and one that exec started.
    let said = lab.in_pod(&server, "grep -h ^Seccomp: /proc/1/status /proc/self/status");
    assert_eq!(said.ok(), "Seccomp:\t2\nSeccomp:\t2\n", "{server}");
    let unconfined = format!("unconfined-{}", arch.kubernetes());
    lab.k(&format!("wait --for=condition=Ready pod/{unconfined} --timeout=90s")).ok();
    lab.in_pod(&unconfined, "unshare -U true").ok();
    lab.in_pod(&server, "unshare -U true").fails("not permitted");
    // A container may make any device, and open the harmless ones: not the card, to which no other right is needed.
    let open = |device: &str| format!("rm -f /tmp/dev; mknod /tmp/dev {device} && head -c 1 /tmp/dev");
    lab.in_pod(&server, &open("c 1 3")).ok();
    for device in ["c 1 11", "b $(sed -n 's/ *[0-9]* vda$//p' /proc/partitions)"] {
        lab.in_pod(&server, &open(device)).fails("/tmp/dev: Operation not permitted");
        lab.in_pod(&unconfined, &open(device)).fails("/tmp/dev: Operation not permitted");
    }
}

/// A token on a card that somebody finds is worth nothing, and is not there; whatever else its owner wrote is.
fn tokens_are_gone(cluster: &mut Cluster) {
    for card in &mut cluster.cards {
        card.power_cut();
        let boot = card.boot_partition();
        assert_eq!(boot.read("bramble-error.txt"), None);
        let text = boot.read("bramble.toml").unwrap();
        assert!(text.contains(&format!("hostname = \"{}\"\r\n", card.arch.machine())), "{text}");
        assert!(!text.contains("bramble1."), "{text}");
    }
}
