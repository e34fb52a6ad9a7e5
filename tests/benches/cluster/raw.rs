//! What the machine itself can do, in the same run: the figures stand on its disk and its cryptography.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::samples::Samples;

const SYNC_WINDOW: Duration = Duration::from_secs(2);
const FILE_BYTES: u64 = 16 << 20;
const BLOCK_BYTES: u64 = 4096;

/// Writes of one block, each followed by its fdatasync, into a file that already has its blocks.
pub fn syncs_per_second(folder: &Path) -> Result<f64> {
    let path = folder.join("raw");
    let file = File::create(&path)?;
    file.write_all_at(&vec![0; usize::try_from(FILE_BYTES)?], 0)?;
    file.sync_all()?;
    let block = vec![1; usize::try_from(BLOCK_BYTES)?];
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < SYNC_WINDOW {
        file.write_all_at(&block, count * BLOCK_BYTES % FILE_BYTES)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

/// As many bytes as a list has, asked for by one byte, over TLS on loopback with nothing behind it.
pub async fn tls_copies(connections: usize, count: usize, bytes: usize) -> Result<Samples> {
    let (acceptor, connector) = tls()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let content: Arc<Vec<u8>> = Arc::new(vec![b'x'; bytes]);
    let mut tasks = tokio::task::JoinSet::new();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let connector = connector.clone();
        clients.spawn(async move {
            let stream = TcpStream::connect(address).await?;
            let mut stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
            let (mut samples, mut buffer) = (Samples::default(), vec![0; bytes]);
            for _ in 0..count / connections {
                let begun = Instant::now();
                stream.write_all(b"?").await?;
                stream.read_exact(&mut buffer).await?;
                samples.add(begun.elapsed());
            }
            anyhow::Ok(samples)
        });
        let (stream, _) = listener.accept().await?;
        let (acceptor, content) = (acceptor.clone(), content.clone());
        tasks.spawn(async move {
            let mut stream = acceptor.accept(stream).await?;
            while stream.read_u8().await.is_ok() {
                stream.write_all(&content).await?;
                stream.flush().await?;
            }
            anyhow::Ok(())
        });
    }
    let mut samples = Samples::default();
    while let Some(done) = clients.join_next().await {
        samples.extend(done??);
    }
    Ok(samples)
}

fn tls() -> Result<(TlsAcceptor, TlsConnector)> {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = CertificateDer::from_pem_slice(signed.cert.pem().as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(signed.signing_key.serialize_pem().as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).context("a certificate just made is well-formed")?;
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client))))
}
