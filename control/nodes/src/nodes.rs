//! The part: sessions by node, and who was heard when.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control_api::resource::NODES;
use control_api::service::ServiceRange;
use control_client::Client;
use control_pki::{Pki, Standing};
use control_wire::frame::PROTOCOL;
use control_wire::{Accepted, Arrival, Listener, NodeArrival, NodeNetwork, NodeStream, Session};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::broadcast::Broadcast;
use crate::dispatch::{self, Subscribe};
use crate::heartbeat::{self, Heartbeats};
use crate::outbox::Outbox;
use crate::pending::Room;
use crate::{registration, removal, report, silence, token};

/// Subscriptions that the dispatcher has not taken yet.
const SUBSCRIPTIONS_MAX: usize = 256;
/// Greetings answered at one time; each may write a Node.
const GREETINGS_MAX: usize = 64;

/// What may be set.
#[derive(Debug, Clone)]
pub struct NodesConfig {
    /// The cluster's pod range, of which each node gets a /24.
    pub pod_range: String,
    /// Addresses of Services.
    pub service_range: ServiceRange,
    /// The cluster's DNS domain.
    pub domain: String,
    pub server_version: String,
    /// `host:port` of every server's UDP port, as it is now.
    pub servers: watch::Receiver<Vec<String>>,
    /// A cloud controller manager initializes nodes and knows their addresses.
    pub external_cloud: bool,
}

impl Default for NodesConfig {
    fn default() -> Self {
        Self {
            pod_range: "10.42.0.0/16".to_owned(),
            service_range: ServiceRange::DEFAULT,
            domain: "cluster.local".to_owned(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            servers: watch::channel(Vec::new()).1,
            external_cloud: false,
        }
    }
}

/// Every node's session.
pub struct Nodes {
    pub(crate) client: Client,
    pub(crate) config: NodesConfig,
    pub(crate) pki: Arc<Pki>,
    pub(crate) room: Room,
    sessions: Mutex<HashMap<String, Session>>,
    seen: Mutex<HashMap<String, Instant>>,
    /// Those that are marked silent.
    silent: Mutex<HashSet<String>>,
    pub(crate) heartbeats: Heartbeats,
    /// One node at a time gets a pod range.
    pub(crate) registering: tokio::sync::Mutex<()>,
    subscriptions: mpsc::Sender<Subscribe>,
    broadcast: Arc<Broadcast>,
    /// Tells the node that a revision is of this cluster's store.
    epoch: u64,
}

impl Nodes {
    /// Serves `listener` until it is closed. Give the result to `Api::connect_nodes`.
    pub fn start(client: Client, pki: Arc<Pki>, listener: Listener, config: NodesConfig) -> Arc<Self> {
        let (subscriptions, receiver) = mpsc::channel(SUBSCRIPTIONS_MAX);
        let hash = pki.ca_hash();
        let epoch = u64::from_le_bytes(*hash.first_chunk().expect("a hash has 32 bytes"));
        // Nodes that were there before this start have their time to come back.
        let now = Instant::now();
        let known = client.list(&NODES, None).items;
        let seen = known.iter().map(|node| (node.meta.name.clone(), now)).collect();
        let nodes = Arc::new(Self {
            client: client.clone(),
            config,
            pki,
            room: Room::default(),
            sessions: Mutex::default(),
            seen: Mutex::new(seen),
            silent: Mutex::default(),
            heartbeats: Heartbeats::default(),
            registering: tokio::sync::Mutex::default(),
            subscriptions,
            broadcast: Arc::default(),
            epoch,
        });
        tokio::spawn(dispatch::run(client, nodes.broadcast.clone(), receiver));
        tokio::spawn(silence::run(nodes.clone()));
        tokio::spawn(heartbeat::run(nodes.clone()));
        tokio::spawn(removal::run(nodes.clone()));
        tokio::spawn(nodes.clone().accept(listener));
        nodes
    }

    /// When the node was last heard.
    pub fn last_seen(&self, node: &str) -> Option<Instant> {
        self.heard().get(node).copied()
    }

    pub(crate) fn heard(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hear(&self, node: &str) {
        self.heard().insert(node.to_owned(), Instant::now());
    }

    /// Nodes whose Node says that they are silent, since they were while this server ran.
    pub(crate) fn silent(&self) -> MutexGuard<'_, HashSet<String>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session(&self, node: &str) -> Option<Session> {
        self.sessions().get(node).cloned()
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions().len()
    }

    pub(crate) fn session_names(&self) -> Vec<String> {
        self.sessions().keys().cloned().collect()
    }

    async fn accept(self: Arc<Self>, mut listener: Listener) {
        let places = Arc::new(Semaphore::new(GREETINGS_MAX));
        while let Some(arrival) = listener.accept().await {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let nodes = self.clone();
            tokio::spawn(async move {
                match arrival {
                    Arrival::Petition(petition) => {
                        // One that waits for a person holds no place up.
                        drop(place);
                        nodes.petition(petition).await;
                    }
                    Arrival::Node(arrival) => {
                        let session = nodes.greet(arrival).await;
                        drop(place);
                        if let Some(session) = session {
                            nodes.serve(session).await;
                        }
                    }
                }
            });
        }
    }

    async fn greet(&self, arrival: NodeArrival) -> Option<Session> {
        let node = arrival.node_name.clone();
        let registered = registration::register(self, &node, arrival.key_hash, &arrival.hello).await;
        let greeted = match registered {
            Ok(range) => arrival.accept(self.welcome(range)).await.map(Some),
            Err(message) => {
                tracing::warn!(%node, %message, "a node was refused");
                arrival.refuse(message).await.map(|()| None)
            }
        };
        greeted.unwrap_or_else(|error| {
            tracing::debug!(%node, %error, "a node left before its greeting was answered");
            None
        })
    }

    fn welcome(&self, pod_range: String) -> Accepted {
        let NodesConfig { pod_range: cluster_range, service_range, domain, server_version, servers, .. } = &self.config;
        Accepted {
            protocol: PROTOCOL,
            server_version: server_version.clone(),
            server_time_ms: jiff::Timestamp::now().as_millisecond(),
            network: NodeNetwork {
                pod_range,
                cluster_range: cluster_range.clone(),
                service_range: service_range.to_string(),
                dns: service_range.dns_address().to_string(),
                domain: domain.clone(),
                secret: self.pki.node_secret(),
            },
            servers: servers.borrow().clone(),
        }
    }

    async fn serve(self: Arc<Self>, session: Session) {
        let node = session.node_name().to_owned();
        tracing::info!(%node, address = %session.remote_address(), "node connected");
        self.hear(&node);
        if let Some(old) = self.sessions().insert(node.clone(), session.clone()) {
            old.close("the node connected again");
        }
        // Its Node may have been deleted between the greeting and now.
        if session.key_hash().and_then(|key| self.pki.members().standing(&key)) == Some(Standing::Removed) {
            session.close("this node was removed from the cluster");
        }
        let mut outbox: Option<Arc<Outbox>> = None;
        let tokens = Arc::new(Semaphore::new(token::AT_ONCE_MAX));
        while let Ok(stream) = session.accept().await {
            match stream {
                NodeStream::Report(source) => {
                    tokio::spawn(report::take(self.clone(), session.clone(), source));
                }
                NodeStream::Token(request, reply) => {
                    let (client, node, places) = (self.client.clone(), node.clone(), tokens.clone());
                    tokio::spawn(token::answer(client, node, request, reply, places));
                }
                NodeStream::Renew(request, answer) => {
                    let granted = self.renew(&request.csr, &request.node_name, session.key_hash());
                    if let Err(error) = answer.send(&self.answer(granted)).await {
                        tracing::debug!(%node, %error, "a renewed certificate did not arrive");
                    }
                }
                NodeStream::Sync { since, epoch, sink } => {
                    let next = Arc::new(Outbox::default());
                    if let Some(old) = outbox.replace(next.clone()) {
                        old.close();
                    }
                    let since = (since > 0 && epoch == self.epoch).then_some(since);
                    let subscribe = Subscribe { node: node.as_str().into(), since, outbox: next.clone() };
                    if self.subscriptions.send(subscribe).await.is_err() {
                        break;
                    }
                    let (epoch, broadcast) = (self.epoch, self.broadcast.clone());
                    tokio::spawn(async move {
                        if let Err(error) = next.drain(&broadcast, sink, epoch).await {
                            tracing::debug!(%error, "a node's desired state was cut off");
                        }
                        next.close();
                    });
                }
            }
        }
        if let Some(outbox) = outbox {
            outbox.close();
        }
        let mut sessions = self.sessions();
        if sessions.get(&node).is_some_and(|current| current.id() == session.id()) {
            sessions.remove(&node);
        }
        drop(sessions);
        tracing::info!(%node, "node disconnected");
    }
}
