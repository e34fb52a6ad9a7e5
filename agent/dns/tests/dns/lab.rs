//! A network namespace with a loopback, the DNS on it, and `dig`.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use agent_dns::{Config, Dns};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

pub const ADDRESS: &str = "127.0.0.1";

/// What `dig` said.
#[derive(Debug)]
pub struct Reply {
    pub status: String,
    pub flags: Vec<String>,
    pub answers: Vec<String>,
    pub authorities: Vec<String>,
    pub additionals: Vec<String>,
    pub text: String,
}

/// Runs a test on a thread in its own network namespace, which ends with the thread.
pub fn alone<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace is made");
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip runs");
        assert!(up.success());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(test());
    };
    let done = std::thread::spawn(run).join();
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

/// The DNS, and the folder of its resolv.conf.
pub struct Lab {
    pub dns: Dns,
    pub resolv_conf: PathBuf,
    _folder: tempfile::TempDir,
}

impl Lab {
    pub fn start(upstreams: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let resolv_conf = folder.path().join("resolv.conf");
        let config = Config {
            listen: vec![SocketAddr::new(ADDRESS.parse().expect("an address"), 53)],
            resolv_conf: resolv_conf.clone(),
            ..Config::default()
        };
        let lab = Self { dns: Dns::start(config).expect("the DNS starts"), resolv_conf, _folder: folder };
        lab.name_upstreams(upstreams);
        lab
    }

    pub fn name_upstreams(&self, upstreams: &[&str]) {
        let text: String = upstreams.iter().map(|address| format!("nameserver {address}\n")).collect();
        let fresh = self.resolv_conf.with_extension("new");
        std::fs::write(&fresh, text).expect("is written");
        std::fs::rename(&fresh, &self.resolv_conf).expect("is renamed");
    }

    pub fn service(&self, name: &str, spec: Value) {
        let object = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
        self.dns.put_service(&serde_json::from_value(object).expect("a Service"));
    }

    pub fn slice(&self, name: &str, service: &str, ports: Value, endpoints: Value) {
        let labels = json!({"kubernetes.io/service-name": service});
        let object = json!({"metadata": {"name": name, "namespace": "default", "labels": labels},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints});
        self.dns.put_slice(&serde_json::from_value(object).expect("a slice"));
    }
}

/// The addresses of A records, sorted.
pub fn addresses(reply: &Reply) -> Vec<&str> {
    let mut found: Vec<&str> = reply
        .answers
        .iter()
        .filter(|line| line.contains(" A "))
        .filter_map(|line| line.split(' ').next_back())
        .collect();
    found.sort_unstable();
    found
}

pub async fn dig(arguments: &str) -> Reply {
    let run = tokio::process::Command::new("dig")
        .args([format!("@{ADDRESS}").as_str(), "+tries=1", "+time=20", "+noall", "+comments", "+question"])
        .args(["+answer", "+authority", "+additional"])
        .args(arguments.split(' '))
        .output();
    let output = run.await.expect("dig runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let between = |start: &str, end: &str| {
        let rest = text.split_once(start).map_or("", |(_, rest)| rest);
        rest.split(end).next().unwrap_or_default().trim().to_owned()
    };
    let section = |name: &str| {
        let (_, rest) = text.split_once(&format!(";; {name} SECTION:\n")).unwrap_or_default();
        let lines = rest.lines().take_while(|line| !line.is_empty() && !line.starts_with(";;"));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    Reply {
        status: between("status: ", ","),
        flags: between("flags: ", ";").split(' ').map(str::to_owned).collect(),
        answers: section("ANSWER"),
        authorities: section("AUTHORITY"),
        additionals: section("ADDITIONAL"),
        text,
    }
}
