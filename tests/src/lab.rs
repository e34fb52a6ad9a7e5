//! Many machines as one cluster: a server and nodes, each with its own network, mounts and data, on one LAN.
//!
//! ```no_run
//! let lab = tests::lab::Lab::start(5);
//! lab.k("create deployment web --image=bramble.local/demo:1 --replicas=5").ok();
//! lab.k("rollout status deployment/web --timeout=60s").ok();
//! lab.k("expose deployment web --port=80 --target-port=8080 --type=NodePort").ok();
//! ```

pub mod dhcp;
pub mod lan;
pub mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::lan::{Cable, Lan, readdress};
use self::machine::Machine;
use crate::namespace::Namespace;
use crate::program::{Said, built, eventually, kubectl};
use crate::registry::demo_archive;

/// The demo's image, imported into every node.
pub const DEMO: &str = "bramble.local/demo:1";

/// Dropped in this order: machines before the LAN they are plugged into, the folder last.
pub struct Lab {
    pub nodes: Vec<Machine>,
    server: Option<Child>,
    server_cable: Cable,
    pub server_address: String,
    server_network: Namespace,
    pub lan: Lan,
    folder: tempfile::TempDir,
}

impl Lab {
    /// A server and `count` nodes, n1 and so on, all Ready, with the demo's image.
    pub fn start(count: usize) -> Self {
        let addresses: Vec<String> = (1..=count).map(|number| format!("192.168.78.{}", 10 + number)).collect();
        Self::with_nodes(&addresses.iter().map(String::as_str).collect::<Vec<_>>(), "")
    }

    /// Nodes with these addresses, of which those in 192.168.79.0/24 are behind the router; a server configuration.
    pub fn with_nodes(addresses: &[&str], config: &str) -> Self {
        let mut lab = Self::prepare(config);
        let token = lab.token(&["--uses", "99"]);
        for (index, address) in addresses.iter().enumerate() {
            let mut machine = Machine::new(&lab.lan, lab.folder.path(), &format!("n{}", index + 1), address);
            machine.start_agent(&["--join", &token]);
            lab.nodes.push(machine);
        }
        lab.import_demo();
        lab.wait_ready(addresses.len());
        lab
    }

    /// A server alone.
    pub fn prepare(config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("bramble-lab-").tempdir().expect("a data folder");
        let lan = Lan::create();
        let server_network = Namespace::bare();
        let server_address = "192.168.78.1".to_owned();
        let server_cable = lan.plug(&server_network, &server_address);
        fs::write(folder.path().join("server.yaml"), config).expect("a configuration");
        let mut lab =
            Self { nodes: Vec::new(), server: None, server_cable, server_address, server_network, lan, folder };
        lab.start_server();
        lab.wait_server();
        lab
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub fn start_server(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).expect("a log file");
        let mut command = self.server_network.command(&built("bramble"));
        command.arg("server").arg("--data-dir").arg(self.data());
        command.arg("--config").arg(self.folder.path().join("server.yaml"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.server = Some(command.spawn().expect("bramble runs"));
    }

    /// Waits until the API answers and has made what every cluster has.
    pub fn wait_server(&self) {
        eventually("the server is ready", 30, || {
            self.kubeconfig().exists()
                && self.k("get --raw /readyz").code == 0
                && self.k("get serviceaccount default").code == 0
        });
    }

    pub fn stop_server(&mut self, signal: Signal) {
        let Some(mut server) = self.server.take() else { return };
        if let Ok(text) = fs::read_to_string(self.data().join("server.pid"))
            && let Ok(pid) = text.trim().parse()
        {
            let _ = kill(Pid::from_raw(pid), signal);
        }
        for _ in 0..400 {
            if !matches!(server.try_wait(), Ok(None)) {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        drop(server.kill());
        drop(server.wait());
    }

    /// Gives the server's machine another address.
    pub fn move_server(&mut self, address: &str) {
        readdress(&self.server_network, Some(&self.server_address), address);
        address.clone_into(&mut self.server_address);
    }

    pub fn server_cable(&self) -> &Cable {
        &self.server_cable
    }

    pub fn server_network(&self) -> &Namespace {
        &self.server_network
    }

    /// A verb of `bramble` on the server's machine.
    pub fn bramble(&self, arguments: &[&str]) -> Said {
        Said::by(self.server_network.command(&built("bramble")).arg("--data-dir").arg(self.data()).args(arguments))
    }

    /// A new join token.
    pub fn token(&self, options: &[&str]) -> String {
        let said = self.bramble(&[&["token", "create"], options].concat());
        said.ok().lines().last().expect("the last line is the token").to_owned()
    }

    /// One more machine on the LAN, without an agent.
    pub fn add_machine(&mut self, name: &str, address: &str) -> &mut Machine {
        let machine = Machine::new(&self.lan, self.folder.path(), name, address);
        self.nodes.push(machine);
        self.nodes.last_mut().expect("it was just added")
    }

    pub fn import_demo(&self) {
        (0..self.nodes.len()).for_each(|node| self.import_demo_on(node));
    }

    pub fn import_demo_on(&self, node: usize) {
        let archive = demo_archive(self.folder.path(), DEMO);
        self.nodes[node].agent(&["image", "import", archive.to_str().expect("a temporary path is text")]).ok();
    }

    /// Waits until so many nodes are Ready.
    pub fn wait_ready(&self, count: usize) {
        self.wait_ready_within(count, 60);
    }

    /// The same for machines that take longer.
    pub fn wait_ready_within(&self, count: usize, seconds: u64) {
        let jsonpath = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
        eventually("all nodes are Ready", seconds, || {
            let said = self.kubectl(&["get", "nodes", "-o", jsonpath]);
            said.code == 0 && said.out.split(' ').filter(|status| *status == "True").count() == count
        });
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.server_network.command(&kubectl());
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.folder.path()).args(arguments);
        command
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        Said::by(&mut self.kubectl_command(arguments))
    }

    /// A kubectl command written as in a shell, without quotes.
    pub fn k(&self, line: &str) -> Said {
        self.kubectl(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// `kubectl apply -f` of a manifest.
    pub fn apply(&self, manifest: &str) -> Said {
        let file = self.folder.path().join("manifest.yaml");
        fs::write(&file, manifest).expect("a manifest");
        self.kubectl(&["apply", "-f", file.to_str().expect("a temporary path is text")])
    }

    /// A shell line in a pod.
    pub fn in_pod(&self, pod: &str, line: &str) -> Said {
        self.kubectl(&["exec", pod, "--", "sh", "-c", line])
    }

    /// One field of one object, or of all of a list.
    pub fn field(&self, what: &str, jsonpath: &str) -> String {
        let words = format!("get {what} -o");
        let mut arguments: Vec<&str> = words.split_whitespace().collect();
        let jsonpath = format!("jsonpath={jsonpath}");
        arguments.push(&jsonpath);
        self.kubectl(&arguments).ok().to_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("---- the server's log");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
            for line in ["get nodes -o wide", "get pods,services,endpointslices -A -o wide", "get events -A"] {
                eprintln!("---- kubectl {line}\n{}", self.k(line).out);
            }
        }
        self.nodes.clear();
        self.stop_server(Signal::SIGKILL);
    }
}
