//! A real registry, and images built for it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub mod evil;

use tar::{Builder, EntryType, Header};

/// One layer's tar, entry by entry; names are written as they are, however evil.
pub struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub fn entry(mut self, kind: EntryType, name: &str, mode: u32, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn dir(self, name: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, name, mode, "", b"")
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, 0o644, "", content)
    }

    pub fn setuid(self, name: &str) -> Self {
        self.entry(EntryType::Regular, name, 0o4755, "", b"")
    }

    pub fn symlink(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Symlink, name, 0o777, to, b"")
    }

    pub fn hard_link(self, name: &str, to: &str) -> Self {
        self.entry(EntryType::Link, name, 0o644, to, b"")
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub fn digest(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes an OCI layout of one image into the folder `layout` there, layers gzipped, and answers with its path.
pub fn layout(
    dir: &Path,
    layers: impl IntoIterator<Item = impl IntoLayer>,
    architecture: &str,
    variant: Option<&str>,
) -> PathBuf {
    let root = dir.join("layout");
    fs::create_dir_all(root.join("blobs/sha256")).unwrap();
    let blob = |bytes: &[u8]| {
        let digest = digest(bytes);
        fs::write(root.join("blobs/sha256").join(&digest), bytes).unwrap();
        format!(r#""digest":"sha256:{digest}","size":{}"#, bytes.len())
    };
    let (mut diff_ids, mut descriptors) = (Vec::new(), Vec::new());
    for layer in layers {
        let tar = layer.into_bytes();
        diff_ids.push(format!(r#""sha256:{}""#, digest(&tar)));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let part = blob(&gzip.finish().unwrap());
        descriptors.push(format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip",{part}}}"#));
    }
    let variant = variant.map_or(String::new(), |v| format!(r#","variant":"{v}""#));
    let config = format!(
        r#"{{"architecture":"{architecture}","os":"linux"{variant},"config":{{"Entrypoint":["/entry"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    );
    let config = blob(config.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json",{config}}},"layers":[{}]}}"#,
        descriptors.join(",")
    );
    let manifest = blob(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json",{manifest},"annotations":{{"org.opencontainers.image.ref.name":"app:1"}}}}]}}"#
    );
    fs::write(root.join("index.json"), index).unwrap();
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    root
}

pub trait IntoLayer {
    fn into_bytes(self) -> Vec<u8>;
}

impl IntoLayer for Layer {
    fn into_bytes(self) -> Vec<u8> {
        self.bytes()
    }
}

impl IntoLayer for &Layer {
    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.0.get_ref().clone();
        bytes.extend_from_slice(&[0; 1024]);
        bytes
    }
}

/// Debian's docker-registry; gone with the value.
pub struct Registry {
    process: Child,
    port: u16,
    dir: tempfile::TempDir,
    login: Option<String>,
}

impl Registry {
    /// `login` is [`LOGIN`], where there is one.
    pub fn start(login: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let auth = login.map_or(String::new(), |login| {
            assert_eq!(login, LOGIN);
            let file = dir.path().join("htpasswd");
            fs::write(&file, HTPASSWD).unwrap();
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display())
        });
        let data = dir.path().join("data");
        let mut registry = Self::serve(dir, &data, "", &auth);
        registry.login = login.map(str::to_owned);
        registry
    }

    /// The same images under other conditions: lines of the `http` section, and an `auth` section.
    pub fn again(&self, http: &str, auth: &str) -> Self {
        Self::serve(tempfile::tempdir().unwrap(), &self.dir.path().join("data"), http, auth)
    }

    fn serve(dir: tempfile::TempDir, data: &Path, http: &str, auth: &str) -> Self {
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n{http}{auth}",
            data.display()
        );
        let file = dir.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the registry ended early");
            if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                break rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, port, dir, login: None }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Answers with the manifest's digest and size.
    pub fn push(&self, layout: &Path, name: &str) -> (String, u64) {
        let mut command = Command::new("skopeo");
        command.args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]);
        if let Some(login) = &self.login {
            command.args(["--dest-creds", login]);
        }
        let status = command
            .arg(format!("oci:{}:app:1", layout.display()))
            .arg(format!("docker://{}/{name}", self.host()))
            .status();
        assert!(status.unwrap().success());
        let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let manifest = &index["manifests"][0];
        (manifest["digest"].as_str().unwrap().to_owned(), manifest["size"].as_u64().unwrap())
    }

    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, body: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "PUT /v2/{repository}/manifests/{tag} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// Flips a byte of every gzip blob, keeping its length.
    pub fn corrupt_largest_blob(&self) {
        let mut folders = vec![self.dir.path().join("data")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                let mut bytes = fs::read(entry.path()).unwrap();
                if bytes.starts_with(&[0x1f, 0x8b]) {
                    *bytes.last_mut().unwrap() ^= 0xff;
                    fs::write(entry.path(), bytes).unwrap();
                }
            }
        }
    }
}

/// The only login that the registry is started with, and its line by bcrypt.
pub const LOGIN: &str = "user:secret";
const HTPASSWD: &str = "user:$2b$12$9Kjjh1qw6B6m6TtxvR1m6eV7O2p0gGpK.JtCwETSAs1noECHhjb9K\n";

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
