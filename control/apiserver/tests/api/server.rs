//! A real API server on loopback: TLS, a memory store, a certificate authority of its own, and a node that echoes.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use bytes::Bytes;
use control_api::stream::{AttachRequest, ExecInput, ExecOutput, ExecRequest, ForwardRequest, LogRequest};
use control_api::{Reason, Resource, Status, resource};
use control_apiserver::node::BoxFuture;
use control_apiserver::{Api, Authenticator, Call, Duplex, ExecStreams, NodeStreams, Reply, User, Verb, WriteOptions};
use control_store::{MemoryStore, Store};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

pub const TOKEN: &str = "a-token-of-the-test";
const QUEUE: usize = 16;

pub struct Server {
    pub api: Arc<Api>,
    pub port: u16,
    pub authority: Authority,
    /// Signs the tokens of ServiceAccounts.
    pub account_key: Arc<control_pki::AccountKey>,
    pub home: TempDir,
    /// Ends the server when sent or dropped.
    pub stop: Option<oneshot::Sender<()>>,
    pub serving: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test-ca");
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), certificate: der, pem }
    }

    /// Certificate and key in PEM and DER.
    pub fn issue(
        &self,
        name: &str,
        group: &str,
        addresses: &[&str],
    ) -> (String, String, CertificateDer<'static>, PrivateKeyDer<'static>) {
        let names: Vec<String> = addresses.iter().map(|address| (*address).to_owned()).collect();
        self.issue_as(name, group, CertificateParams::new(names).unwrap())
    }

    /// The same with all else that the parameters say, such as when the certificate ends.
    pub fn issue_as(
        &self,
        name: &str,
        group: &str,
        mut params: CertificateParams,
    ) -> (String, String, CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (certificate.pem(), key.serialize_pem(), certificate.der().clone(), der)
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }
}

struct Tokens;

impl Authenticator for Tokens {
    fn token(&self, token: &str) -> Option<User> {
        let user = || User {
            name: "system:serviceaccount:default:app".to_owned(),
            groups: vec!["system:serviceaccounts".to_owned()],
            ..User::default()
        };
        (token == TOKEN).then(user)
    }
}

/// Logs say what was asked; exec echoes stdin, or exits with the code that the command names.
struct Echo;

impl NodeStreams for Echo {
    fn logs(&self, node: &str, request: LogRequest) -> BoxFuture<'_, Result<mpsc::Receiver<Bytes>, Status>> {
        let node = node.to_owned();
        Box::pin(async move {
            assert_ne!(request.container, "trap", "this container's log is a trap");
            let (send, receive) = mpsc::channel(QUEUE);
            let line = format!("{}/{} on {node}, tail {:?}\n", request.pod, request.container, request.tail_lines);
            send.send(Bytes::from(line)).await.unwrap();
            if request.follow {
                tokio::spawn(async move { send.closed().await });
            }
            Ok(receive)
        })
    }

    fn attach(&self, _node: &str, request: AttachRequest) -> BoxFuture<'_, Result<ExecStreams, Status>> {
        let exec = ExecRequest { stdin: request.stdin, stdout: true, tty: request.tty, ..ExecRequest::default() };
        self.exec("", exec)
    }

    fn forward(&self, _node: &str, request: ForwardRequest) -> BoxFuture<'_, Result<Box<dyn Duplex>, Status>> {
        Box::pin(async move {
            if request.port != 80 {
                return Err(Status::new(Reason::InternalError, "connection refused"));
            }
            let (here, there) = tokio::io::duplex(1 << 10);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(there);
                tokio::io::copy(&mut read, &mut write).await
            });
            Ok(Box::new(here) as Box<dyn Duplex>)
        })
    }

    fn exec(&self, _node: &str, request: ExecRequest) -> BoxFuture<'_, Result<ExecStreams, Status>> {
        Box::pin(async move {
            let (input, mut inputs) = mpsc::channel(QUEUE);
            let (outputs, output) = mpsc::channel(QUEUE);
            tokio::spawn(async move {
                match request.command.as_slice() {
                    [exit, code] if exit == "exit" => {
                        outputs.send(ExecOutput::Stderr(b"failing\n".to_vec())).await.unwrap();
                        outputs.send(ExecOutput::Exited { code: code.parse().unwrap() }).await.unwrap();
                    }
                    [size] if size == "size" && request.tty => {
                        while let Some(input) = inputs.recv().await {
                            let ExecInput::Resize { columns, rows } = input else { continue };
                            outputs.send(ExecOutput::Stdout(format!("{columns}x{rows}").into())).await.unwrap();
                        }
                    }
                    _ if request.stdin => {
                        while let Some(ExecInput::Stdin(data)) = inputs.recv().await {
                            outputs.send(ExecOutput::Stdout(data)).await.unwrap();
                        }
                        outputs.send(ExecOutput::Exited { code: 0 }).await.unwrap();
                    }
                    command => {
                        outputs.send(ExecOutput::Stdout(command.join(" ").into_bytes())).await.unwrap();
                        outputs.send(ExecOutput::Exited { code: 0 }).await.unwrap();
                    }
                }
            });
            Ok(ExecStreams { input, output })
        })
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::start_on(Arc::new(MemoryStore::default())).await
    }

    pub async fn start_on(store: Arc<dyn Store>) -> Self {
        let authority = Authority::new();
        let (_, _, certificate, key) = authority.issue("server", "servers", &["127.0.0.1", "localhost"]);
        let verifier =
            WebPkiClientVerifier::builder(Arc::new(authority.roots())).allow_unauthenticated().build().unwrap();
        let tls = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let api = Api::new(store);
        api.connect_nodes(Arc::new(Echo));
        api.accept_tokens(Arc::new(Tokens));
        let account_key = Arc::new(control_pki::AccountKey::generate().unwrap());
        api.sign_tokens(account_key.clone());
        control_apiserver::bootstrap::bootstrap(&api).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(control_apiserver::serve(api.clone(), Arc::new(tls), listener, async {
            let _stopped = stopped.await;
        }));
        let (home, stop, serving) = (TempDir::new().unwrap(), Some(stop), Some(serving));
        let server = Self { api, port, authority, account_key, home, stop, serving };
        server.create(&resource::SERVICE_ACCOUNTS, "default", json!({"metadata": {"name": "default"}})).await;
        server.write_kubeconfig();
        server
    }

    fn write_kubeconfig(&self) {
        let (certificate, key, _, _) = self.authority.issue("admin", "system:masters", &[]);
        for (name, text) in [("ca.pem", &self.authority.pem), ("admin.pem", &certificate), ("admin.key", &key)] {
            std::fs::write(self.home.path().join(name), text).unwrap();
        }
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("https://127.0.0.1:{}", self.port), "certificate-authority": "ca.pem"}}],
            "users": [{"name": "admin", "user": {"client-certificate": "admin.pem", "client-key": "admin.key"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin", "namespace": "default"}}],
        });
        std::fs::write(self.home.path().join("config"), config.to_string()).unwrap();
    }

    pub async fn call(
        &self,
        verb: Verb,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
    ) -> Result<Reply, Status> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let subresource = subresource.map(str::to_owned);
        let (user, options) = (User::system("test"), WriteOptions::default());
        self.api.call(Call { user, verb, resource, subresource, namespace, name, options }).await
    }

    pub async fn create(&self, resource: &'static Resource, namespace: &str, object: Value) {
        self.call(Verb::Create(object), resource, namespace, "", None).await.unwrap();
    }

    /// A kubectl command with this server's configuration.
    pub fn kubectl(&self, version: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(kubectl_path(version));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("config"))
            .current_dir(self.home.path())
            .kill_on_drop(true);
        command
    }

    /// Runs kubectl with a bearer token in the place of the administrator's certificate.
    pub async fn output_with_token(&self, version: &str, token: &str, line: &str) -> Output {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("https://127.0.0.1:{}", self.port), "certificate-authority": "ca.pem"}}],
            "users": [{"name": "token", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "token", "namespace": "default"}}],
        });
        let name = format!("token-{}", token.len() + token.bytes().map(usize::from).sum::<usize>());
        let path = self.write(&name, &config.to_string());
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        self.kubectl(version).env("KUBECONFIG", path).args(words).output().await.unwrap()
    }

    /// Flags that make a kubectl command one of this user's, by a client certificate.
    pub fn flags(&self, name: &str, group: &str) -> String {
        let (certificate, key, _, _) = self.authority.issue(name, group, &[]);
        let file = name.replace(':', "-");
        self.write(&format!("{file}.pem"), &certificate);
        self.write(&format!("{file}.key"), &key);
        format!("--client-certificate={file}.pem --client-key={file}.key")
    }

    /// Runs kubectl; its standard output, or a panic with everything it said.
    pub async fn run(&self, version: &str, line: &str) -> String {
        let output = self.output(version, line).await;
        assert!(output.status.success(), "kubectl {line}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs kubectl, which must fail; its standard error.
    pub async fn fails(&self, version: &str, line: &str) -> String {
        let output = self.output(version, line).await;
        assert!(!output.status.success(), "kubectl {line}: {}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    pub async fn output(&self, version: &str, line: &str) -> Output {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        self.kubectl(version).args(words).output().await.unwrap()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The kubectl of one version, such as 1.30, or the newest. Another in its place would show nothing.
fn kubectl_path(version: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let path = if version == "newest" {
        std::env::var_os("KUBECTL_NEWEST").map_or_else(|| tools.join("kubectl"), PathBuf::from)
    } else {
        // Distributions' packages put it beside the one on PATH.
        let name = format!("kubectl.{version}");
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let beside = std::env::split_paths(&folders)
            .filter_map(|folder| folder.join("kubectl").canonicalize().ok())
            .map(|installed| installed.with_file_name(&name))
            .find(|path| path.exists());
        beside.unwrap_or_else(|| tools.join(name))
    };
    assert!(path.exists(), "no kubectl {version} is installed: run scripts/install-dependencies test");
    path
}
