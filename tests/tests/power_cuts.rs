//! Cards that lose their power: a server in the midst of writes, and a node at any moment of its first start.
//!
//! `scripts/power-cuts` runs more of them than the few that are made by default.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::guest::arch::Arch;
use tests::guest::card::CardMachine;
use tests::lab::Lab;
use tests::lab::dhcp::Dhcp;
use tests::lab::lan::Lan;
use tests::program::{Said, eventually, kubectl};
use tests::registry::{Registry, demo_index};

const ROUTER: &str = "192.168.78.254";
const SERVER: &str = "192.168.78.41";
const CUTS: u64 = 5;
const START_SECONDS_MAX: u64 = 300;
const WRITERS: usize = 3;
/// Between two cuts, so that each meets a log with something in it.
const WRITES_MIN: usize = 15;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The same moments again for the same seed, as far as an emulator's are.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = setting("BRAMBLE_SEED", clock.as_secs());
        println!("BRAMBLE_SEED={seed}");
        Self(seed | 1)
    }

    /// Lets a time below `seconds_max` pass.
    fn pass(&mut self, seconds_min: u64, seconds_max: u64) {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let wait = Duration::from_millis(seconds_min * 1000 + (self.0 >> 33) % ((seconds_max - seconds_min) * 1000));
        let until = Instant::now() + wait;
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}

/// A card that is the whole cluster, and who writes to it from the LAN.
struct Pi {
    card: CardMachine,
    lan: Lan,
    _registry: Registry,
    _dhcp: Dhcp,
    folder: tempfile::TempDir,
}

/// What has been answered with success, by anybody, since the cluster began.
#[derive(Default)]
struct Ledger {
    created: BTreeSet<String>,
    /// Of each writer: the last number that was acknowledged, and the last that was asked for.
    counters: [(u64, u64); WRITERS],
}

const WORKLOAD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: IMAGE}]
"#;

fn ask(lan: &Lan, folder: &Path, arguments: &[&str]) -> Said {
    let mut command = lan.router().command(&kubectl());
    command.env("KUBECONFIG", folder.join("kubeconfig")).env("HOME", folder).arg("--request-timeout=20s");
    Said::by(command.args(arguments).stdin(Stdio::null()))
}

impl Pi {
    fn start() -> Self {
        let lan = Lan::create();
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::start_at(lan.router(), ROUTER);
        let image = demo_index(&registry, lan.router(), &[Arch::Aarch64], "web:1");
        let dhcp = Dhcp::start(&lan, &[SERVER]);
        let settings =
            format!("role = \"server\"\nhostname = \"home\"\n[agent.registries]\ninsecure = [\"{ROUTER}:5000\"]\n");
        let mut card = CardMachine::flash(&lan, Arch::Aarch64, SERVER, &settings);
        card.power_on(&lan);
        let pi = Self { card, lan, _registry: registry, _dhcp: dhcp, folder };
        eventually("the card's owner logs in and finds a kubeconfig", START_SECONDS_MAX, || {
            let said = pi.card.ssh(&pi.lan, "cat /var/lib/bramble/kubeconfig");
            let server = said.out.lines().find(|line| line.contains("server:")).unwrap_or_default();
            let ours = said.out.replace(server, &format!("    server: https://{SERVER}:6443"));
            std::fs::write(pi.folder.path().join("kubeconfig"), ours).unwrap();
            said.code == 0 && !server.is_empty()
        });
        pi.await_api();
        std::fs::write(pi.folder.path().join("web.yaml"), WORKLOAD.replace("IMAGE", &image)).unwrap();
        let file = pi.folder.path().join("web.yaml").display().to_string();
        pi.k(&["apply", "-f", &file]).ok();
        for writer in 0..WRITERS {
            pi.k(&["create", "configmap", &format!("counter-{writer}"), "--from-literal=n=0"]).ok();
        }
        pi
    }

    fn k(&self, arguments: &[&str]) -> Said {
        ask(&self.lan, self.folder.path(), arguments)
    }

    fn await_api(&self) {
        eventually("the API answers", START_SECONDS_MAX, || {
            self.k(&["get", "--raw", "/readyz"]).code == 0 && self.k(&["get", "serviceaccount", "default"]).code == 0
        });
    }

    fn await_pods(&self) {
        let ready = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
        eventually("the node is Ready", START_SECONDS_MAX, || self.k(&["get", "nodes", "-o", ready]).out == "True");
        eventually("the pod is Ready", START_SECONDS_MAX, || {
            self.k(&["get", "pods", "-l", "app=web", "-o", ready]).out.split(' ').any(|status| status == "True")
        });
    }

    /// Nothing that was acknowledged is missing or older.
    fn compare(&self, ledger: &Ledger) {
        let said = self.k(&["get", "configmaps", "-o", "name"]);
        let there: BTreeSet<&str> = said.ok().lines().filter_map(|line| line.strip_prefix("configmap/")).collect();
        let lost: Vec<_> = ledger.created.iter().filter(|name| !there.contains(name.as_str())).collect();
        assert!(lost.is_empty(), "of {} acknowledged ConfigMaps these are lost: {lost:?}", ledger.created.len());
        for (writer, (acknowledged, asked)) in ledger.counters.iter().enumerate() {
            let said = self.k(&["get", "configmap", &format!("counter-{writer}"), "-o", "jsonpath={.data.n}"]);
            let number: u64 = said.ok().parse().unwrap();
            assert!((*acknowledged..=*asked).contains(&number), "{number} is not from {acknowledged} to {asked}");
        }
    }
}

/// Writes until told to stop; what fails is asked for again under another name.
fn write(lan: &Lan, folder: &Path, writer: usize, ledger: &Mutex<Ledger>, stop: &AtomicBool) {
    let mut number = ledger.lock().unwrap().counters[writer].1;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("w{writer}-{number}");
        ledger.lock().unwrap().counters[writer].1 = number;
        if ask(lan, folder, &["create", "configmap", &name, &format!("--from-literal=n={number}")]).code == 0 {
            ledger.lock().unwrap().created.insert(name);
        }
        let patch = format!("{{\"data\":{{\"n\":\"{number}\"}}}}");
        if ask(lan, folder, &["patch", "configmap", &format!("counter-{writer}"), "-p", &patch]).code == 0 {
            ledger.lock().unwrap().counters[writer].0 = number;
        }
        if writer == 0 {
            // Pods begin and end meanwhile.
            ask(lan, folder, &["scale", "deployment/web", &format!("--replicas={}", 1 + number % 2)]);
        }
    }
}

#[test]
fn a_server_card_that_loses_power_amid_writes_loses_nothing_acknowledged() {
    let mut moments = Moments::new();
    let mut pi = Pi::start();
    pi.card.set_seed(moments.0);
    pi.await_pods();
    let ledger = Mutex::new(Ledger::default());
    for cut in 0..setting("BRAMBLE_POWER_CUTS", CUTS) {
        let stop = AtomicBool::new(false);
        let before = ledger.lock().unwrap().created.len();
        std::thread::scope(|scope| {
            let Pi { card, lan, folder, .. } = &mut pi;
            let (lan, folder) = (&*lan, folder.path());
            for writer in 0..WRITERS {
                let (ledger, stop) = (&ledger, &stop);
                scope.spawn(move || write(lan, folder, writer, ledger, stop));
            }
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                eventually("writes are acknowledged", 120, || {
                    ledger.lock().unwrap().created.len() >= before + WRITES_MIN
                });
                moments.pass(0, 8);
            }));
            card.power_cut();
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = caught {
                std::panic::resume_unwind(panic);
            }
        });
        pi.card.power_on(&pi.lan);
        pi.await_api();
        let seconds = pi.card.switched_on().elapsed().as_secs();
        let ledger = ledger.lock().unwrap();
        println!("cut {cut}: {} acknowledged, the API is back after {seconds} s", ledger.created.len());
        pi.compare(&ledger);
        pi.await_pods();
    }
}

#[test]
fn a_card_whose_power_is_cut_during_its_first_start_joins_all_the_same_and_stays_joined() {
    const ADDRESS: &str = "192.168.78.33";
    let mut moments = Moments::new();
    let lab = Lab::prepare("");
    let _dhcp = Dhcp::start(&lab.lan, &[ADDRESS]);
    let mut card = CardMachine::flash(&lab.lan, Arch::Aarch64, ADDRESS, "role = \"auto\"\nhostname = \"attic\"\n");
    card.set_seed(moments.0);
    for _ in 0..setting("BRAMBLE_POWER_CUTS", CUTS).div_ceil(2) {
        card.power_on(&lab.lan);
        moments.pass(2, 25);
        println!("cut after {} ms", card.switched_on().elapsed().as_millis());
        card.power_cut();
    }
    card.power_on(&lab.lan);
    let mut fingerprint = String::new();
    eventually("the console shows how to let it in", START_SECONDS_MAX, || {
        let console = card.console();
        // The line may not have been written to its end yet.
        let line = console.rsplit_once("bramble node approve attic ").and_then(|(_, rest)| rest.split_once('\n'));
        line.inspect(|(shown, _)| fingerprint = shown.trim().to_owned()).is_some()
    });
    let waiting = lab.bramble(&["node", "list"]);
    assert_eq!(waiting.ok().matches("Pending").count(), 1, "{}", waiting.out);
    lab.bramble(&["node", "approve", "attic", &fingerprint]).ok();
    // It may have heard of that, kept its certificate, be Ready, or not.
    moments.pass(0, 15);
    card.power_cut();
    assert_eq!(card.boot_partition().read("bramble-error.txt"), None);
    let connected = lab.log().matches("node connected").count();
    card.power_on(&lab.lan);
    eventually("it is in without another word", START_SECONDS_MAX, || {
        lab.log().matches("node connected").count() > connected
    });
    lab.wait_ready_within(1, START_SECONDS_MAX);
    assert_eq!(lab.bramble(&["node", "list"]).ok().matches(&fingerprint).count(), 1, "it is the same node");
}
