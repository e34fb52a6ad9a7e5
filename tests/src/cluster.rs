//! One machine as a cluster: `bramble up` as a user runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::Namespace;
use crate::process::Processes;
use crate::program::{Said, built, eventually, kubectl};
use crate::registry::demo_archive;

/// The demo's image, imported into every cluster.
pub const DEMO: &str = "bramble.local/demo:1";

/// What `tokenFile: DIR/tokens` names.
const TOKENS: &str = "an-administrators-token,ann,1,\"system:masters\"\nsomebody-elses-token,bob,2\n";

/// A running one-machine cluster. Everything it made is gone after the drop.
pub struct Cluster {
    pub namespace: Namespace,
    folder: tempfile::TempDir,
    up: Option<Child>,
}

impl Cluster {
    /// Starts and waits for the node to be Ready; the demo's image is imported.
    pub fn start() -> Self {
        Self::configured("")
    }

    /// The same with a server configuration, in which `DIR` stands for the test's folder.
    pub fn configured(config: &str) -> Self {
        let mut cluster = Self::prepare(&std::env::temp_dir());
        let config = config.replace("DIR", &cluster.path().display().to_string());
        fs::write(cluster.server_config(), config).expect("a configuration");
        fs::write(cluster.path().join("tokens"), TOKENS).expect("a token file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(cluster.path().join("tokens"), private).expect("a private file");
        cluster.up();
        cluster.wait_ready();
        cluster.import_demo();
        cluster
    }

    /// A network namespace, and a folder inside `parent` for the data; nothing runs yet.
    pub fn prepare(parent: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("bramble-test-").tempdir_in(parent).expect("a data folder");
        Self { namespace: Namespace::create(), folder, up: None }
    }

    /// Imports the demo's image; a running agent is not needed.
    pub fn import_demo(&self) {
        let archive = demo_archive(self.folder.path(), DEMO);
        let archive = archive.to_str().expect("a temporary path is text").to_owned();
        self.agent(&["image", "import", &archive]).ok();
    }

    fn server_config(&self) -> PathBuf {
        self.folder.path().join("server.yaml")
    }

    /// Starts `bramble up`.
    pub fn up(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_file()).expect("a log file");
        let mut command = self.namespace.command(&built("bramble"));
        command.args(["up", "--data-dir"]).arg(self.data());
        if self.server_config().exists() {
            command.arg("--config").arg(self.server_config());
        }
        let agent_config = self.folder.path().join("agent.yaml");
        if agent_config.exists() {
            command.arg("--agent-config").arg(agent_config);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.up = Some(command.spawn().expect("bramble runs"));
    }

    /// Waits until the node is Ready.
    pub fn wait_ready(&self) {
        let mut last = String::new();
        for _ in 0..400 {
            if self.kubeconfig().exists() {
                let jsonpath = "jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
                let said = self.kubectl(&["get", "nodes", "-o", jsonpath]);
                if said.code == 0 && said.out == "True" && self.kubectl(&["get", "serviceaccount", "default"]).code == 0
                {
                    return;
                }
                last = format!("{}{}", said.out, said.err);
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
        panic!("the node did not become Ready: {last}\n{}", self.log());
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder for the test's own files.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("up.log")
    }

    /// What the programs logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// A kubectl command ready to run inside the namespace.
    pub fn kubectl_command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = self.namespace.command(program);
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.folder.path()).args(arguments);
        command
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        Said::by(&mut self.kubectl_command(&kubectl(), arguments))
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

    pub fn bramble(&self, arguments: &[&str]) -> Said {
        Said::by(self.namespace.command(&built("bramble")).arg("--data-dir").arg(self.data()).args(arguments))
    }

    pub fn agent(&self, arguments: &[&str]) -> Said {
        Said::by(self.namespace.command(&built("bramble-agent")).arg("--data-dir").arg(self.data()).args(arguments))
    }

    /// An HTTP body from inside the namespace.
    pub fn http(&self, url: &str) -> Said {
        Said::by(self.namespace.command(Path::new("curl")).args(["-sSf", "-m", "5", url]))
    }

    /// The pid in `DIR/NAME.pid`.
    pub fn pid(&self, name: &str) -> Option<Pid> {
        let text = fs::read_to_string(self.data().join(format!("{name}.pid"))).ok()?;
        Some(Pid::from_raw(text.trim().parse().ok()?))
    }

    /// Processes named `name` (all, for an empty name) in containers of this cluster. Its pods' network namespaces are children of nobody else's:
    /// they are found by the shims that this cluster's data folder names.
    pub fn container_pids(&self, name: &str) -> Vec<Pid> {
        let data = self.data().display().to_string();
        let processes = Processes::now();
        let mut found: Vec<Pid> = processes
            .iter()
            .filter(|(pid, process)| (name.is_empty() || process.name == name) && processes.descends(**pid, &data))
            .map(|(pid, _)| Pid::from_raw(*pid))
            .collect();
        found.sort();
        found
    }

    /// The cgroup that all pods of this node lie below: its name is that of the node's tables of rules, too.
    pub fn cgroup_parent(&self) -> Option<String> {
        let tables = self.namespace.sh("nft list tables").out;
        let at = tables.find("bramble-")? + "bramble-".len();
        let key: String = tables[at..].chars().take_while(char::is_ascii_hexdigit).collect();
        Some(format!("bramble-{key}"))
    }

    /// Kills one of the cluster's own programs without a chance to tidy up.
    pub fn kill_9(&self, name: &str) {
        let pid = self.pid(name).unwrap_or_else(|| panic!("{name}.pid is there"));
        kill(pid, Signal::SIGKILL).expect("the program was running");
    }

    /// Ends `bramble up` by SIGTERM and waits for it.
    pub fn stop_up(&mut self) {
        if let Some(mut up) = self.up.take() {
            if let Some(pid) = self.pid("up") {
                let _ = kill(pid, Signal::SIGTERM);
            }
            eventually("bramble up ends", 30, || !matches!(up.try_wait(), Ok(None)));
        }
    }

    fn end(&mut self) {
        if let Some(mut up) = self.up.take() {
            if let Some(pid) = self.pid("up") {
                let _ = kill(pid, Signal::SIGTERM);
            }
            for _ in 0..300 {
                if !matches!(up.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::park_timeout(std::time::Duration::from_millis(50));
            }
            drop(up.kill());
            drop(up.wait());
        }
        // Nobody waits for the grace of what is thrown away.
        for pid in self.container_pids("") {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let said = self.agent(&["reset"]);
        if said.code != 0 {
            eprintln!("agent reset: {}{}", said.out, said.err);
        }
        for name in ["agent", "server"] {
            if let Some(pid) = self.pid(name) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the cluster's log\n{}", self.log());
            for line in ["get pods,deployments -A -o wide", "get events -A"] {
                eprintln!("---- kubectl {line}\n{}", self.k(line).out);
            }
        }
        self.end();
    }
}
