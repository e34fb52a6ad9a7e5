//! A real registry (Debian's docker-registry) inside a namespace.

mod index;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::namespace::Namespace;
use crate::program::{Said, eventually};

/// Stopped when dropped.
pub struct Registry {
    process: Child,
    _folder: tempfile::TempDir,
    /// `127.0.0.1:5000`
    pub address: String,
}

impl Registry {
    /// Starts an empty registry in `namespace`.
    pub fn start(namespace: &Namespace) -> Self {
        Self::start_at(namespace, "127.0.0.1")
    }

    /// One that knows only `somebody`, whose password is `secret`.
    pub fn start_guarded(namespace: &Namespace) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the registry");
        let users = folder.path().join("htpasswd");
        fs::write(&users, "somebody:$2b$04$X7rHALmU8irFI6t90GEteeNoHMFhTDWlYge4Vb166BAEe5Zz.DzeO\n")
            .expect("its users");
        let guard = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display());
        Self::start_in(namespace, "127.0.0.1", folder, &guard)
    }

    /// The same at another of the namespace's addresses, for others on its LAN.
    pub fn start_at(namespace: &Namespace, address: &str) -> Self {
        Self::start_in(namespace, address, tempfile::tempdir().expect("a folder for the registry"), "")
    }

    fn start_in(namespace: &Namespace, address: &str, folder: tempfile::TempDir, more: &str) -> Self {
        let address = format!("{address}:5000");
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n{more}",
            folder.path().display()
        );
        let file = folder.path().join("config.yml");
        fs::write(&file, config).expect("the registry's configuration");
        let process = namespace
            .command(Path::new("docker-registry"))
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry runs");
        let url = format!("http://{address}/v2/");
        eventually("the registry answers", 20, || {
            Said::by(namespace.command(Path::new("curl")).args(["-s", "-m", "2", &url])).code == 0
        });
        Self { process, _folder: folder, address }
    }

    /// Pushes a docker-archive as `name`; the full reference.
    pub fn push(&self, namespace: &Namespace, archive: &Path, name: &str) -> String {
        let reference = format!("{}/{name}", self.address);
        let from = format!("docker-archive:{}", archive.display());
        let mut skopeo = namespace.command(Path::new("skopeo"));
        skopeo.args([
            "copy",
            "--dest-creds=somebody:secret",
            "--insecure-policy",
            "--dest-tls-verify=false",
            &from,
            &format!("docker://{reference}"),
        ]);
        Said::by(&mut skopeo).ok();
        reference
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

pub use self::index::demo_index;

/// The demo's image as an archive in `folder`, made by the script that users run.
pub fn demo_archive(folder: &Path, name: &str) -> std::path::PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo-image");
    let file = folder.join("demo.tar");
    drop(fs::remove_file(&file));
    Said::by(Command::new(script).arg(&file).arg(name)).ok();
    file
}
