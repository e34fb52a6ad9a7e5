//! A control plane without nodes, to be killed at any moment.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tests::namespace::Namespace;
use tests::program::built;

use crate::client::Access;

const RETRY: Duration = Duration::from_millis(5);
const START_TIME_MAX: Duration = Duration::from_secs(30);

pub struct Server {
    pub namespace: Namespace,
    pub access: Access,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Server {
    /// A first start makes the administrator's way in, for all later ones.
    pub fn prepare() -> Self {
        let (namespace, folder) = (Namespace::create(), tempfile::tempdir().unwrap());
        let mut child = spawn(&namespace, &folder);
        let began = Instant::now();
        let access = loop {
            if let Ok(access) = Access::load(&folder.path().join("data/kubeconfig")) {
                break access;
            }
            assert!(began.elapsed() < START_TIME_MAX, "no kubeconfig: {}", log(&folder));
            std::thread::park_timeout(RETRY);
        };
        child.kill().unwrap();
        child.wait().unwrap();
        Self { namespace, access, folder, child: None }
    }

    /// Waits until it serves.
    pub async fn start(&mut self) {
        self.child = Some(spawn(&self.namespace, &self.folder));
        let began = Instant::now();
        loop {
            if let Ok(mut connection) = self.access.connect().await
                && connection.get("/readyz").await.is_ok()
            {
                return;
            }
            assert!(began.elapsed() < START_TIME_MAX, "the server does not serve: {}", log(&self.folder));
            tokio::time::sleep(RETRY).await;
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the server's log\n{}", log(&self.folder));
        }
        self.kill();
    }
}

fn spawn(namespace: &Namespace, folder: &tempfile::TempDir) -> Child {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut command = namespace.command(&built("bramble"));
    command.args(["server", "--data-dir"]).arg(folder.path().join("data"));
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap()
}

fn log(folder: &tempfile::TempDir) -> String {
    let text = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
