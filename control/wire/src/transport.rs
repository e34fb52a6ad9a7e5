//! Sockets and limits of the QUIC transport, as measured with a thousand idle connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt};
use ring::rand::SecureRandom;

/// The node keeps NAT entries and the connection alive; the server only listens.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Longer than the 50 s after which a silent node is NotReady, so that a node in trouble is not also disconnected.
const IDLE_MS_MAX: u32 = 90_000;
/// Streams that a node opens: hello, state, reports, and a few that replace them.
const NODE_STREAMS_MAX: u32 = 8;
/// Streams of a peer that has not greeted yet: the one of its greeting.
const STRANGER_STREAMS_MAX: u32 = 1;
/// Unread bytes of such a peer: a greeting, and no more of the memory than that.
const STRANGER_WINDOW_BYTES: u32 = 32 << 10;
/// First packets kept of connections that nobody has looked at yet: of each, and of all.
const INCOMING_BYTES_MAX: u64 = 16 << 10;
const ALL_INCOMING_BYTES_MAX: u64 = 4 << 20;
/// Streams that the server opens towards one node: its logs and execs at one time.
pub(crate) const SERVER_STREAMS_MAX: u32 = 128;
/// Unread bytes of one stream.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Unread bytes of one connection: enough for every stream, so that users' streams that nobody reads (a stopped
/// kubectl) never hold up the node's own, its heartbeats among them.
const CONNECTION_WINDOW_BYTES: u32 = (SERVER_STREAMS_MAX + NODE_STREAMS_MAX) * STREAM_WINDOW_BYTES;
/// What a node keeps for its server until it has it.
const NODE_UNSENT_BYTES: u64 = 1 << 20;
/// What a server keeps for one node until it has it; a thousand of them may come at once.
const SERVER_UNSENT_BYTES: u64 = 32 << 10;
/// Without it a burst of handshakes overflows the default buffer and costs seconds of retries.
const SERVER_SOCKET_BYTES: usize = 8 << 20;
/// Between two packets that tell a peer of a server's earlier life that its connection is gone. A thousand nodes all ask
/// within one heartbeat of a restart; who is not answered asks ever more seldom, so that quinn's 20 ms would leave the
/// last of them waiting for the idle timeout. Such a packet is always smaller than the one that it answers.
const RESET_INTERVAL_MIN: Duration = Duration::from_micros(200);
/// As in quinn's own.
const CONNECTION_ID_BYTES: usize = 8;

fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS_MAX))))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(NODE_UNSENT_BYTES)
        .datagram_receive_buffer_size(None);
    config
}

pub(crate) fn server_transport() -> Arc<TransportConfig> {
    let mut config = transport();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(STRANGER_STREAMS_MAX))
        .receive_window(VarInt::from_u32(STRANGER_WINDOW_BYTES))
        .send_window(SERVER_UNSENT_BYTES);
    Arc::new(config)
}

/// What is kept of connections before their handshake.
pub(crate) fn bound_incoming(config: &mut quinn::ServerConfig, count_max: usize) {
    config
        .max_incoming(count_max)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(ALL_INCOMING_BYTES_MAX);
}

/// Gives a node what only nodes get.
pub(crate) fn admit(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(NODE_STREAMS_MAX));
}

pub(crate) fn agent_transport() -> Arc<TransportConfig> {
    let mut config = transport();
    config.max_concurrent_bidi_streams(VarInt::from_u32(SERVER_STREAMS_MAX)).keep_alive_interval(Some(KEEP_ALIVE));
    Arc::new(config)
}

pub(crate) fn server_endpoint(
    address: SocketAddr,
    config: quinn::ServerConfig,
    secret: &[u8; 32],
) -> io::Result<quinn::Endpoint> {
    let socket = UdpSocket::bind(address)?;
    // Root may pass the system's limit; anyone else gets as much as the limit allows.
    if setsockopt(&socket, sockopt::RcvBufForce, &SERVER_SOCKET_BYTES).is_err() {
        let _ = setsockopt(&socket, sockopt::RcvBuf, &SERVER_SOCKET_BYTES);
    }

    /// Connection ids without a structure.
    struct RandomIds;

    impl ConnectionIdGenerator for RandomIds {
        fn generate_cid(&mut self) -> ConnectionId {
            let mut bytes = [0; CONNECTION_ID_BYTES];
            ring::rand::SystemRandom::new()
                .fill(&mut bytes)
                .expect("the system has random numbers, or TLS would not have worked");
            ConnectionId::new(&bytes)
        }

        fn cid_len(&self) -> usize {
            CONNECTION_ID_BYTES
        }

        fn cid_lifetime(&self) -> Option<Duration> {
            None
        }
    }

    /// Settings that a server keeps over restarts: a restarted one tells an agent at its first packet that their connection
    /// is gone, and the agent believes it. Otherwise the agent would learn it from the idle timeout.
    fn lasting(secret: &[u8; 32]) -> EndpointConfig {
        let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let mut config = EndpointConfig::new(Arc::new(reset));
        // quinn's own ids carry a mark of this start, and packets without it are dropped unanswered.
        config.cid_generator(|| Box::new(RandomIds));
        config.min_reset_interval(RESET_INTERVAL_MIN);
        config
    }
    quinn::Endpoint::new(lasting(secret), Some(config), socket, Arc::new(TokioRuntime))
}

/// A socket on any port that can reach `peer`.
pub(crate) fn agent_socket(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any = match peer.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    UdpSocket::bind((any, 0))
}

pub(crate) fn agent_endpoint(peer: SocketAddr) -> io::Result<quinn::Endpoint> {
    quinn::Endpoint::new(EndpointConfig::default(), None, agent_socket(peer)?, Arc::new(TokioRuntime))
}
