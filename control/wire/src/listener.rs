//! The server's UDP port: who comes, and whether to join or as a node.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;

use crate::codec::{FrameReader, FrameWriter, NO_CODE, StreamError};
use crate::frame::{Accepted, Hello, Opening, PROTOCOL, Welcome};
use crate::petition::{Ask, Petition, goodbye};
use crate::session::Session;
use crate::transport;
use crate::trust;

/// Connections that have not said yet what they are; more are refused and come again.
const HANDSHAKES_MAX: usize = 256;
/// Of these, those of one address: who holds them all up holds up nobody elsewhere.
const HANDSHAKES_PER_ADDRESS_MAX: usize = HANDSHAKES_MAX / 2;
/// With so many under way a peer must first show that it is where it says it is; addresses that are made up take no place.
const HANDSHAKES_TRUSTING_MAX: usize = HANDSHAKES_MAX / 4;
/// From the first packet to the first frame.
const HANDSHAKE_SECONDS_MAX: u64 = 15;
/// For the first frame, once its stream is open: less, so that it can be told.
const GREETING_SECONDS_MAX: u64 = 10;
/// A refused peer has so long to read why.
pub(crate) const GOODBYE_SECONDS_MAX: u64 = 5;
/// Arrivals that no one has taken yet.
const ARRIVALS_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen for agents on udp {address}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("tls settings cannot be used for quic")]
    Tls(#[source] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// Someone with something to say.
#[derive(Debug)]
pub enum Arrival {
    /// Asks for a certificate: by a token, by an administrator's approval, or for a key that has had one.
    Petition(Petition),
    /// With a certificate.
    Node(NodeArrival),
}

/// The listening endpoint; handshakes run beside each other.
#[derive(Debug)]
pub struct Listener {
    endpoint: quinn::Endpoint,
    arrivals: mpsc::Receiver<Arrival>,
}

impl Listener {
    /// `tls` asks for client certificates and allows none (for joins), as `control/pki` makes it; `secret` is the same
    /// at every start, so that agents notice a restart at once.
    pub fn bind(address: SocketAddr, tls: Arc<rustls::ServerConfig>, secret: &[u8; 32]) -> Result<Self, ListenError> {
        let crypto = QuicServerConfig::try_from(tls).map_err(ListenError::Tls)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(transport::server_transport());
        transport::bound_incoming(&mut config, HANDSHAKES_MAX);
        let endpoint = transport::server_endpoint(address, config, secret)
            .map_err(|source| ListenError::Bind { address, source })?;
        let (sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
        tokio::spawn(receive(endpoint.clone(), sender));
        Ok(Self { endpoint, arrivals })
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// `None` once the endpoint is closed. Cancel-safe.
    pub async fn accept(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// A handle that closes every connection.
    pub fn closer(&self) -> Closer {
        Closer { endpoint: self.endpoint.clone() }
    }
}

/// Ends a listener and its sessions.
#[derive(Debug, Clone)]
pub struct Closer {
    endpoint: quinn::Endpoint,
}

impl Closer {
    pub async fn close(&self, reason: &str) {
        self.endpoint.close(NO_CODE, reason.as_bytes());
        let _ = tokio::time::timeout(Duration::from_secs(GOODBYE_SECONDS_MAX), self.endpoint.wait_idle()).await;
    }
}

async fn receive(endpoint: quinn::Endpoint, arrivals: mpsc::Sender<Arrival>) {
    let places = Arc::new(Places::default());
    while let Some(incoming) = endpoint.accept().await {
        if places.taken() >= HANDSHAKES_TRUSTING_MAX && incoming.may_retry() {
            // An error means that it was shown meanwhile; the peer comes again.
            let _ = incoming.retry();
            continue;
        }
        let Some(place) = places.take(incoming.remote_address().ip()) else {
            incoming.refuse();
            continue;
        };
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            let address = incoming.remote_address();
            match tokio::time::timeout(Duration::from_secs(HANDSHAKE_SECONDS_MAX), meet(incoming)).await {
                Ok(Ok(arrival)) => {
                    let _ = arrivals.send(arrival).await;
                }
                Ok(Err(error)) => tracing::debug!(%address, %error, "a connection ended before its greeting"),
                Err(_) => tracing::debug!(%address, "a connection did not greet in time"),
            }
            drop(place);
        });
    }
}

/// Who is between a first packet and a first frame, by address.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

impl Places {
    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> usize {
        self.by_address().values().sum()
    }

    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut all = self.by_address();
        let own = all.get(&address).copied().unwrap_or(0);
        if own >= HANDSHAKES_PER_ADDRESS_MAX || all.values().sum::<usize>() >= HANDSHAKES_MAX {
            return None;
        }
        all.insert(address, own + 1);
        Some(Place { places: self.clone(), address })
    }
}

/// Free again when dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.places.by_address();
        match all.get_mut(&self.address) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                all.remove(&self.address);
            }
        }
    }
}

/// From the first packet to the first frame.
async fn meet(incoming: quinn::Incoming) -> Result<Arrival, StreamError> {
    let connection = incoming.await.map_err(StreamError::Lost)?;
    let certificate = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .and_then(|chain| chain.first().map(|certificate| certificate.to_vec()));
    let (writer, reader) = connection.accept_bi().await.map_err(StreamError::Lost)?;
    let mut writer = FrameWriter::new(writer);
    let mut reader = FrameReader::of_greeting(reader, certificate.is_some());
    let opening: Opening = match reader.expect(GREETING_SECONDS_MAX).await {
        Ok(opening) => opening,
        Err(error) => {
            connection.close(NO_CODE, error.to_string().as_bytes());
            return Err(error);
        }
    };
    match (opening, certificate) {
        (Opening::Join(request), _) => Ok(Arrival::Petition(Petition::new(Ask::Join(request), connection, writer))),
        (Opening::Pending(request), _) => {
            Ok(Arrival::Petition(Petition::new(Ask::Approval(request), connection, writer)))
        }
        (Opening::Renew(request), _) => Ok(Arrival::Petition(Petition::new(Ask::Renewal(request), connection, writer))),
        (Opening::Hello(hello), Some(certificate)) => match NodeArrival::check(&hello, &certificate) {
            Ok((node_name, key_hash)) => {
                Ok(Arrival::Node(NodeArrival { hello, node_name, key_hash, connection, writer }))
            }
            Err(message) => {
                writer.send(&Welcome::Refused { message }).await?;
                goodbye(connection, writer, "refused").await;
                Err(StreamError::Unexpected("a greeting that was refused"))
            }
        },
        (Opening::Hello(_), None) => {
            connection.close(NO_CODE, b"a node certificate is needed");
            Err(StreamError::Unexpected("a greeting without a certificate"))
        }
        (Opening::Sync { .. } | Opening::Report | Opening::Token(_), _) => {
            connection.close(NO_CODE, b"a greeting comes first");
            Err(StreamError::Unexpected("a stream before the greeting"))
        }
    }
}

/// A node that greeted; its name is its certificate's.
#[derive(Debug)]
pub struct NodeArrival {
    pub hello: Hello,
    pub node_name: String,
    /// SHA-256 of the node's public key.
    pub key_hash: [u8; 32],
    connection: quinn::Connection,
    writer: FrameWriter,
}

impl NodeArrival {
    fn check(hello: &Hello, certificate: &[u8]) -> Result<(String, [u8; 32]), String> {
        if hello.protocol != PROTOCOL {
            return Err(format!(
                "agent {} speaks protocol {}, this server speaks {PROTOCOL}: bring both to one version",
                hello.agent_version, hello.protocol
            ));
        }
        let name = trust::node_name(certificate).ok_or("the certificate is not a node's")?;
        if name != hello.node_name {
            return Err(format!("the certificate is for node {name}, the greeting for {}", hello.node_name));
        }
        let key_hash = trust::key_hash(certificate).ok_or("the certificate cannot be read")?;
        Ok((name, key_hash))
    }

    pub async fn accept(mut self, accepted: Accepted) -> Result<Session, StreamError> {
        self.writer.send(&Welcome::Accepted(accepted)).await?;
        self.writer.finish();
        transport::admit(&self.connection);
        Ok(Session::new(self.connection, self.node_name, self.hello.agent_version))
    }

    /// Refuses in plain words and closes.
    pub async fn refuse(mut self, message: impl Into<String>) -> Result<(), StreamError> {
        self.writer.send(&Welcome::Refused { message: message.into() }).await?;
        goodbye(self.connection, self.writer, "refused").await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_places_for_the_others_and_gives_its_own_back() {
        let places = Arc::new(Places::default());
        let address = |last: u8| IpAddr::from([192, 168, 1, last]);
        let mut held: Vec<Place> = Vec::new();
        held.extend((0..HANDSHAKES_MAX).filter_map(|_| places.take(address(1))));
        assert_eq!((held.len(), places.taken()), (HANDSHAKES_PER_ADDRESS_MAX, HANDSHAKES_PER_ADDRESS_MAX));
        held.extend((0..HANDSHAKES_MAX).filter_map(|_| places.take(address(2))));
        assert_eq!(held.len(), HANDSHAKES_MAX);
        assert!(places.take(address(3)).is_none(), "all are taken");
        held.clear();
        assert_eq!(places.taken(), 0);
        assert!(places.by_address().is_empty());
    }
}
