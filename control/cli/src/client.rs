//! Requests to the API, one after the other over one connection.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::access::Access;

const CONNECT_SECONDS_MAX: u64 = 10;
const ANSWER_SECONDS_MAX: u64 = 60;
/// The largest answer read: a list of every pod of a large cluster.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// An answer that is not success, in the API's words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: u16,
    pub message: String,
}

/// One connection to the API.
pub struct Client {
    access: Access,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub async fn connect(access: Access) -> Result<Self> {
        let place = format!("{}:{}", access.host, access.port);
        let what = || format!("cannot reach the API at {place} (from {})", access.file.display());
        let tls = TlsConnector::from(Arc::new(tls(&access).with_context(|| access.file.display().to_string())?));
        let name = ServerName::try_from(access.host.clone()).context("the server's name")?;
        let open = async {
            let tcp = TcpStream::connect((access.host.as_str(), access.port)).await?;
            tls.connect(name, tcp).await
        };
        let stream = tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS_MAX), open).await;
        let stream =
            stream.map_err(|_| anyhow::anyhow!("no answer in {CONNECT_SECONDS_MAX} s")).and_then(|open| Ok(open?));
        let (sender, connection) = handshake(TokioIo::new(stream.with_context(what)?)).await.with_context(what)?;
        tokio::spawn(connection);
        Ok(Self { access, sender })
    }

    pub async fn get(&mut self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Sends `body` with its content type, and reads the answer; anything but success is a [`Refusal`].
    pub async fn send(&mut self, method: Method, path: &str, body: Option<(&str, Value)>) -> Result<Value> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("{}:{}", self.access.host, self.access.port))
            .header("user-agent", concat!("bramble/", env!("CARGO_PKG_VERSION")))
            .header("accept", "application/json");
        if let Some(token) = &self.access.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some((kind, _)) = &body {
            request = request.header("content-type", *kind);
        }
        let bytes = body.map_or_else(Bytes::new, |(_, body)| Bytes::from(body.to_string()));
        let request = request.body(Full::new(bytes)).context("the request cannot be made")?;
        let exchange = async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("answer cannot be read: {error}"))?;
            anyhow::Ok((status, body.to_bytes()))
        };
        let (status, body) = match tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), exchange).await {
            Ok(exchange) => exchange.with_context(|| format!("the API did not answer {path}"))?,
            Err(_) => bail!("the API did not answer {path} within {ANSWER_SECONDS_MAX} s"),
        };
        understand(status, &body, path)
    }
}

fn understand(status: StatusCode, body: &[u8], path: &str) -> Result<Value> {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(_) if body.is_empty() => Value::Null,
        Err(error) => return Err(error).with_context(|| format!("the API's answer to {path}")),
    };
    if status.is_success() {
        return Ok(value);
    }
    let message =
        value["message"].as_str().map_or_else(|| format!("the API answered {status} to {path}"), str::to_owned);
    Err(Refusal { code: status.as_u16(), message }.into())
}

fn tls(access: &Access) -> Result<rustls::ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&access.ca) {
        roots.add(certificate.context("certificate-authority")?).context("certificate-authority")?;
    }
    let provider = control_wire::trust::provider();
    let time = Arc::new(control_wire::trust::NeverBeforeBuild);
    let builder = rustls::ClientConfig::builder_with_details(provider, time)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    match &access.client {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(certificate).collect();
            let key = PrivateKeyDer::from_pem_slice(key).context("client-key")?;
            Ok(builder.with_client_auth_cert(chain.context("client-certificate")?, key)?)
        }
    }
}

/// Runs one verb that talks to the API.
pub fn block_on<T>(verb: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?.block_on(verb)
}
