use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::OpenError;

/// For each address of a host: the first that answers is taken.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
const CA_FILE_BYTES_MAX: u64 = 4 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One connection a request: a pull needs a handful, and layers come over two at a time.
pub(super) struct Connector {
    tls: TlsConnector,
}

impl Connector {
    pub fn new(ca_files: &[PathBuf]) -> Result<Self, OpenError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for path in ca_files {
            add_authorities(&mut roots, path)
                .map_err(|source| OpenError::Authorities { path: path.clone(), source })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    pub async fn send(&self, uri: &Uri, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, BoxError> {
        let host = uri.host().ok_or("the address has no host")?.trim_matches(['[', ']']).to_owned();
        let secure = uri.scheme_str() == Some("https");
        let tcp = dial(&host, uri.port_u16().unwrap_or(if secure { 443 } else { 80 })).await?;
        tcp.set_nodelay(true)?;
        if !secure {
            return exchange(tcp, request).await;
        }
        let tls = tokio::time::timeout(CONNECT_WAIT, self.tls.connect(ServerName::try_from(host)?, tcp)).await??;
        exchange(tls, request).await
    }
}

fn add_authorities(roots: &mut RootCertStore, path: &PathBuf) -> Result<(), BoxError> {
    if std::fs::metadata(path)?.len() > CA_FILE_BYTES_MAX {
        return Err("the file is too large".into());
    }
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(&std::fs::read(path)?) {
        roots.add(certificate?)?;
        found = true;
    }
    if found { Ok(()) } else { Err("the file holds no certificate".into()) }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, BoxError> {
    let mut last: BoxError = "the host has no address".into();
    for address in tokio::net::lookup_host((host, port)).await? {
        match tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("dial tcp {address}: {error}").into(),
            Err(_) => last = format!("dial tcp {address}: i/o timeout").into(),
        }
    }
    Err(last)
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, BoxError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the response's body, or when that is dropped.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
