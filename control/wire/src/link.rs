//! The agent's connection to the server.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::codec::{FrameReader, FrameWriter, NO_CODE, StreamError, words};
use crate::frame::{Accepted, Hello, Opening, PROTOCOL, Welcome};
use crate::identity::Identity;
use crate::incoming::{self, Incoming};
use crate::network;
use crate::report::ReportStream;
use crate::sync::SyncStream;
use crate::transport;
use crate::trust::{ALPN, Anchor, ClusterVerifier, NeverBeforeBuild, SERVER_NAME, provider};

/// One address is given so long before the next is tried.
const DIAL_SECONDS_MAX: u64 = 5;
/// The next address is tried beside one that has not answered for so long.
const DIAL_STAGGER: Duration = Duration::from_millis(500);
/// Addresses tried for one connection.
const DIALS_MAX: usize = 16;
/// The server's answer to the first frame.
pub(crate) const ANSWER_SECONDS_MAX: u64 = 10;

/// Why a server was not reached. `Refused` and `NotAdmitted` do not mend themselves by trying again soon.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("no server address is known")]
    NoAddress,
    #[error("cannot resolve server address {address}")]
    Resolve { address: String, source: io::Error },
    #[error("cannot open a socket towards {address}")]
    Socket { address: SocketAddr, source: io::Error },
    #[error("cannot reach server at {address}")]
    Unreachable { address: SocketAddr, source: quinn::ConnectionError },
    #[error("server at {address} did not answer within {DIAL_SECONDS_MAX} s")]
    Silent { address: SocketAddr },
    #[error("server at {address} is not of this node's cluster")]
    WrongCluster { address: SocketAddr, source: quinn::ConnectionError },
    #[error("server does not accept this node's certificate")]
    NotAdmitted { source: quinn::ConnectionError },
    #[error("server refused the node: {message}")]
    Refused { message: String },
    #[error("server tells of a network that cannot be: {reason}")]
    Network { reason: String },
    #[error("the node's identity cannot be used")]
    Identity(#[source] rustls::Error),
    #[error("server did not finish the greeting")]
    Greeting(#[source] StreamError),
}

/// One connection. Cheap to clone; the last clone dropped closes it.
#[derive(Debug, Clone)]
pub struct Link {
    connection: quinn::Connection,
    endpoint: quinn::Endpoint,
}

impl Link {
    /// Dials `addresses`, the first one first and the others soon beside it, and greets the server that answers.
    pub async fn connect(
        addresses: &[String],
        identity: &Identity,
        hello: Hello,
    ) -> Result<(Self, Accepted), ConnectError> {
        let config = client_config(Anchor::Certificate(identity.ca.clone()), Some(identity))?;
        Self::dial_any(addresses, &config).await?.greet(hello).await
    }

    /// The first connection that comes about; an address that does not answer holds the next one up for a moment only.
    pub(crate) async fn dial_any(addresses: &[String], config: &quinn::ClientConfig) -> Result<Self, ConnectError> {
        let mut dials = tokio::task::JoinSet::new();
        let mut delay = Duration::ZERO;
        for address in addresses.iter().take(DIALS_MAX) {
            let (address, config) = (address.clone(), config.clone());
            dials.spawn(async move {
                tokio::time::sleep(delay).await;
                Self::dial_name(&address, &config).await
            });
            delay += DIAL_STAGGER;
        }
        let mut failure = ConnectError::NoAddress;
        while let Some(dialed) = dials.join_next().await {
            match dialed {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a server address failed");
                    // Another cluster at one address says less than silence at the right one.
                    if !matches!(error, ConnectError::WrongCluster { .. }) || matches!(failure, ConnectError::NoAddress)
                    {
                        failure = error;
                    }
                }
                Err(error) => tracing::debug!(%error, "a dial ended early"),
            }
        }
        Err(failure)
    }

    /// Every address of a `host:port`, in the resolver's order.
    pub(crate) async fn dial_name(address: &str, config: &quinn::ClientConfig) -> Result<Self, ConnectError> {
        let resolve = |source| ConnectError::Resolve { address: address.to_owned(), source };
        let mut failure = resolve(io::Error::from(io::ErrorKind::NotFound));
        for found in tokio::net::lookup_host(address).await.map_err(resolve)? {
            match Self::dial(found, config.clone()).await {
                Ok(link) => return Ok(link),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn dial(address: SocketAddr, config: quinn::ClientConfig) -> Result<Self, ConnectError> {
        let socket = |source| ConnectError::Socket { address, source };
        let endpoint = transport::agent_endpoint(address).map_err(socket)?;
        let connecting = endpoint
            .connect_with(config, address, SERVER_NAME)
            .map_err(|error| socket(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        match tokio::time::timeout(Duration::from_secs(DIAL_SECONDS_MAX), connecting).await {
            Err(_) => Err(ConnectError::Silent { address }),
            Ok(Ok(connection)) => Ok(Self { connection, endpoint }),
            // A TLS alert raised on this side: the certificate shown is not the cluster's.
            Ok(Err(source @ quinn::ConnectionError::TransportError(_))) => {
                Err(ConnectError::WrongCluster { address, source })
            }
            Ok(Err(source)) => Err(ConnectError::Unreachable { address, source }),
        }
    }

    /// The handshake ends before the server has judged the node's certificate: only an answer shows that it did.
    async fn greet(self, hello: Hello) -> Result<(Self, Accepted), ConnectError> {
        let answer = async {
            let (_, mut reader) = self.open(&Opening::Hello(hello)).await?;
            reader.expect::<Welcome>(ANSWER_SECONDS_MAX).await
        };
        match answer.await {
            Ok(Welcome::Accepted(accepted)) if accepted.protocol == PROTOCOL => match network::check(&accepted.network)
            {
                Ok(()) => Ok((self, accepted)),
                Err(reason) => Err(ConnectError::Network { reason }),
            },
            Ok(Welcome::Accepted(Accepted { protocol, server_version, .. })) => {
                let version = words(&server_version);
                let message = format!("it is {version} and speaks protocol {protocol}, this agent speaks {PROTOCOL}");
                Err(ConnectError::Refused { message })
            }
            Ok(Welcome::Refused { message }) => Err(ConnectError::Refused { message: words(&message) }),
            Err(StreamError::Lost(source @ quinn::ConnectionError::ConnectionClosed(_))) => {
                Err(ConnectError::NotAdmitted { source })
            }
            Err(error) => Err(ConnectError::Greeting(error)),
        }
    }

    pub(crate) async fn open(&self, opening: &Opening) -> Result<(FrameWriter, FrameReader), StreamError> {
        let opened = async {
            let (writer, reader) = self.connection.open_bi().await.map_err(StreamError::Lost)?;
            let mut writer = FrameWriter::new(writer);
            writer.send(opening).await?;
            Ok((writer, FrameReader::new(reader)))
        };
        // A server may grant neither the stream nor a byte of it, and yet keep the connection.
        let opened = tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), opened).await;
        opened.unwrap_or(Err(StreamError::Late(ANSWER_SECONDS_MAX)))
    }

    /// The desired state, from what a `Synced` frame last said; zeros ask for everything.
    pub async fn sync(&self, since: u64, epoch: u64) -> Result<SyncStream, StreamError> {
        let (writer, reader) = self.open(&Opening::Sync { since, epoch }).await?;
        Ok(SyncStream::new(writer, reader))
    }

    /// The way for status, events and heartbeats.
    pub async fn report(&self) -> Result<ReportStream, StreamError> {
        let (writer, reader) = self.open(&Opening::Report).await?;
        Ok(ReportStream::new(writer, reader))
    }

    /// What the server asks for next. Errors only when the connection is gone. Cancel-safe.
    pub async fn accept(&self) -> Result<Incoming, StreamError> {
        incoming::accept(&self.connection).await
    }

    /// Moves the connection to a new socket: call it when the machine's addresses changed.
    pub fn rebind(&self) -> io::Result<()> {
        self.endpoint.rebind(transport::agent_socket(self.connection.remote_address())?)
    }

    /// The server's address.
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// The CA that the server showed, DER.
    pub(crate) fn authority(&self) -> Option<Vec<u8>> {
        let chain = self.connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        crate::trust::authority(chain.get(1..)?).map(|ca| ca.to_vec())
    }

    /// Resolves with the reason when the connection is gone.
    pub fn closed(&self) -> impl Future<Output = String> + Send + 'static {
        let connection = self.connection.clone();
        async move { connection.closed().await.to_string() }
    }

    /// Says goodbye; the server knows at once.
    pub async fn close(&self, reason: &str) {
        self.connection.close(NO_CODE, reason.as_bytes());
        self.endpoint.wait_idle().await;
    }
}

/// With an identity for a connection, without for a join.
pub(crate) fn client_config(anchor: Anchor, identity: Option<&Identity>) -> Result<quinn::ClientConfig, ConnectError> {
    let build = || {
        let builder = rustls::ClientConfig::builder_with_details(provider(), Arc::new(NeverBeforeBuild))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(ClusterVerifier::new(anchor));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from(identity.certificate.clone())];
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.der().to_vec()));
                builder.with_client_auth_cert(chain, key)?
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    };
    let config = build().map_err(ConnectError::Identity)?;
    let config = QuicClientConfig::try_from(config)
        .map_err(|error| ConnectError::Identity(rustls::Error::General(error.to_string())))?;
    let mut config = quinn::ClientConfig::new(Arc::new(config));
    config.transport_config(transport::agent_transport());
    Ok(config)
}
