//! Connections: accept, TLS, HTTP/1.1 and 2, and an orderly end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::api::Api;
use crate::authenticate::certificate_user;
use crate::pipeline;

/// Connections at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: u32 = 1024;
/// Requests at once on one HTTP/2 connection, as in Go's server.
const STREAMS_PER_CONNECTION_MAX: u32 = 250;
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Also how long an idle HTTP/1.1 connection is kept.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// A silent peer's kernel is asked after so long, and given up after so many questions.
const KEEP_ALIVE_IDLE_S: u32 = 60;
const KEEP_ALIVE_INTERVAL_S: u32 = 15;
const KEEP_ALIVE_PROBES: u32 = 4;
/// How long open requests may take to end at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// After an accept failed for want of descriptors, so that the loop does not spin.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
const HEADER_BYTES_MAX: u32 = 64 << 10;
const HTTP1_BUFFER_BYTES_MAX: usize = 128 << 10;
const HTTP2_SEND_BYTES_MAX: usize = 64 << 10;

/// Serves the API until `shutdown` resolves, then ends open watches and waits a little for the rest.
///
/// `tls` asks for client certificates and verifies them; the protocols it offers are set here.
pub async fn serve(
    api: Arc<Api>,
    tls: Arc<rustls::ServerConfig>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut tls = (*tls).clone();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let slot = tokio::select! {
            () = &mut shutdown => break,
            slot = slots.clone().acquire_owned() => slot.map_err(io::Error::other)?,
        };
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                    continue;
                }
            },
        };
        let (api, acceptor) = (api.clone(), acceptor.clone());
        tokio::spawn(async move {
            connection(api, acceptor, stream).await;
            drop(slot);
        });
    }
    api.close();
    let _drained = tokio::time::timeout(DRAIN_TIMEOUT, slots.acquire_many(CONNECTIONS_MAX)).await;
    Ok(())
}

async fn connection(api: Arc<Api>, acceptor: TlsAcceptor, stream: TcpStream) {
    // Small answers must not wait for the peer's delayed acknowledgement; without it they still arrive.
    let _nodelay = stream.set_nodelay(true);
    // A client that vanished without a word would hold its watches, and the processes it started, for ever.
    let _kept = setsockopt(&stream, sockopt::KeepAlive, &true)
        .and_then(|()| setsockopt(&stream, sockopt::TcpKeepIdle, &KEEP_ALIVE_IDLE_S))
        .and_then(|()| setsockopt(&stream, sockopt::TcpKeepInterval, &KEEP_ALIVE_INTERVAL_S))
        .and_then(|()| setsockopt(&stream, sockopt::TcpKeepCount, &KEEP_ALIVE_PROBES));
    let stream = match tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let user = certificate.and_then(certificate_user).map(Arc::new);
    let closed = api.closed();
    let service = service_fn(move |request| pipeline::handle(api.clone(), user.clone(), request));
    let builder = builder();
    let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = closed => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(error = %error, "a connection ended early");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(HTTP1_BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buf_size(HTTP2_SEND_BYTES_MAX);
    builder
}
