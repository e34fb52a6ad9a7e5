//! Registries as companies run them: bearer tokens of a token server, and TLS by a certificate authority of their own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use agent_oci::{Config, Credentials, Image, Images, Platform, PullError, RegistryConfig};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use crate::support::{Layer, Registry, layout};

/// A registry of one image, open to all, beside which the ones under test serve the same folder.
fn stocked(dir: &Path) -> Registry {
    let registry = Registry::start(None);
    registry.push(&layout(dir, &[Layer::new().file("a", b"1")], "amd64", None), "team/app:1");
    registry
}

async fn pull(dir: &Path, registries: RegistryConfig, name: &str, login: &Credentials) -> Result<Image, PullError> {
    let data = tempfile::tempdir_in(dir).unwrap();
    let config = Config { registries, platform: Platform::new("amd64", None), ..Config::new(data.path()) };
    Images::open(config).unwrap().pull(name, login, |_| {}).await
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    (params, KeyPair::generate().unwrap())
}

/// Gives tokens for reading to who has the password; what it was asked for is kept.
struct TokenServer {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

const PASSWORD: &str = "user:secret";

impl TokenServer {
    /// `certificate` is of `key`, and what the registry trusts.
    fn start(certificate: Vec<u8>, key: &KeyPair) -> Self {
        let pkcs8 = key.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &SystemRandom::new()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
                heard.lock().unwrap().push(first.clone());
                let login = format!("authorization: Basic {}", STANDARD.encode(PASSWORD));
                let known = head.iter().any(|line| line.eq_ignore_ascii_case(&login));
                let (status, body) = if known {
                    ("200 OK", format!(r#"{{"token":"{}"}}"#, token(&key, &certificate)))
                } else {
                    ("401 Unauthorized", String::new())
                };
                let length = body.len();
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
                    .unwrap();
            }
        });
        Self { port, asked }
    }
}

fn token(key: &EcdsaKeyPair, certificate: &[u8]) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let header = format!(r#"{{"typ":"JWT","alg":"ES256","x5c":["{}"]}}"#, STANDARD.encode(certificate));
    let claims = format!(
        r#"{{"iss":"token-server","sub":"user","aud":"the-registry","exp":{},"nbf":{},"iat":{now},"jti":"1","access":[{{"type":"repository","name":"team/app","actions":["pull"]}}]}}"#,
        now + 300,
        now - 10
    );
    let said = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = key.sign(&SystemRandom::new(), said.as_bytes()).unwrap();
    format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_token_server_is_asked_with_the_password_and_the_registry_with_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let open = stocked(dir.path());
    let (params, key) = authority("token-server");
    let certificate = params.self_signed(&key).unwrap();
    let bundle = dir.path().join("bundle.pem");
    std::fs::write(&bundle, certificate.pem()).unwrap();
    let server = TokenServer::start(certificate.der().to_vec(), &key);
    let auth = format!(
        "auth:\n  token:\n    realm: http://127.0.0.1:{}/token\n    service: the-registry\n    issuer: token-server\n    rootcertbundle: {}\n",
        server.port,
        bundle.display()
    );
    let guarded = open.again("", &auth);
    let name = format!("{}/team/app:1", guarded.host());
    let denied = pull(dir.path(), RegistryConfig::default(), &name, &Credentials::none()).await.unwrap_err().message();
    assert!(denied.contains("pull access denied") && denied.contains("401"), "{denied}");
    let mut login = Credentials::none();
    login.add(&guarded.host(), "user", "wrong");
    let denied = pull(dir.path(), RegistryConfig::default(), &name, &login).await.unwrap_err().message();
    assert!(denied.contains("failed to fetch oauth token: 401") && !denied.contains("wrong"), "{denied}");
    let mut login = Credentials::none();
    login.add(&guarded.host(), "user", "secret");
    pull(dir.path(), RegistryConfig::default(), &name, &login).await.unwrap();
    let asked = server.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 3, "one token serves a whole pull: {asked:?}");
    assert!(asked[2].contains("scope=repository%3Ateam%2Fapp%3Apull&service=the%2Dregistry"), "{}", asked[2]);
    // What the token is not for, it does not open.
    let other = format!("{}/team/other:1", guarded.host());
    let denied = pull(dir.path(), RegistryConfig::default(), &other, &login).await.unwrap_err().message();
    assert!(denied.contains("pull access denied"), "{denied}");
}

#[tokio::test]
async fn a_registry_is_believed_by_the_authority_that_is_configured_and_by_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let open = stocked(dir.path());
    let (params, key) = authority("our-ca");
    let ca = params.self_signed(&key).unwrap();
    let (other_params, other_key) = authority("our-ca");
    let other = other_params.self_signed(&other_key).unwrap();
    let issuer = Issuer::new(params, key);
    let own_key = KeyPair::generate().unwrap();
    let path = |name: &str| dir.path().join(name);
    let issue = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        CertificateParams::new(names).unwrap().signed_by(&own_key, &issuer).unwrap().pem()
    };
    std::fs::write(path("key.pem"), own_key.serialize_pem()).unwrap();
    std::fs::write(path("right.pem"), issue(&["127.0.0.1"])).unwrap();
    std::fs::write(path("elsewhere.pem"), issue(&["registry.example"])).unwrap();
    std::fs::write(path("ca.pem"), ca.pem()).unwrap();
    std::fs::write(path("other.pem"), other.pem()).unwrap();
    let serve = |certificate: &str| {
        let tls = format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            path(certificate).display(),
            path("key.pem").display()
        );
        open.again(&tls, "")
    };
    let ask = async |registry: &Registry, authorities: &[&str]| {
        let mirrors = [("registry.example".to_owned(), vec![format!("https://{}", registry.host())])].into();
        let ca_files = authorities.iter().map(|name| path(name)).collect();
        let registries = RegistryConfig { mirrors, ca_files, insecure: vec!["registry.example".to_owned()] };
        let none = Credentials::none();
        pull(dir.path(), registries, "registry.example/team/app:1", &none).await.map_err(|error| error.message())
    };
    let right = serve("right.pem");
    ask(&right, &["ca.pem"]).await.unwrap();
    ask(&right, &["other.pem", "ca.pem"]).await.unwrap();
    for authorities in [&[][..], &["other.pem"][..]] {
        assert!(ask(&right, authorities).await.is_err(), "believed by {authorities:?}");
    }
    let elsewhere = serve("elsewhere.pem");
    assert!(ask(&elsewhere, &["ca.pem"]).await.is_err(), "a certificate of another name is believed");
    // An authority that cannot be read stops the start, rather than being left out.
    std::fs::write(path("broken.pem"), "no certificate").unwrap();
    let registries = RegistryConfig { ca_files: vec![path("broken.pem")], ..Default::default() };
    let refused = Images::open(Config { registries, ..Config::new(path("data")) }).err().expect("refused");
    assert!(refused.to_string().contains("cannot use the certificate authorities of"), "{refused}");
}
