//! The part: sessions by node, and who was heard when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control_api::resource::NODES;
use control_client::Client;
use control_pki::Pki;
use control_pki::tokens::UseError;
use control_wire::frame::{JoinAnswer, JoinRequest, PROTOCOL};
use control_wire::{Arrival, JoinAttempt, Listener, NodeArrival, NodeStream, Session};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::dispatch::{self, Subscribe};
use crate::outbox::Outbox;
use crate::{registration, report, silence};

/// Subscriptions that the dispatcher has not taken yet.
const SUBSCRIPTIONS_MAX: usize = 256;
/// Greetings answered at one time; each may write a Node.
const GREETINGS_MAX: usize = 64;

/// What may be set.
#[derive(Debug, Clone)]
pub struct NodesConfig {
    /// The cluster's pod range, of which each node gets a /24.
    pub pod_range: String,
    pub server_version: String,
}

impl Default for NodesConfig {
    fn default() -> Self {
        Self { pod_range: "10.42.0.0/16".to_owned(), server_version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// Every node's session.
pub struct Nodes {
    pub(crate) client: Client,
    pub(crate) config: NodesConfig,
    pki: Arc<Pki>,
    sessions: Mutex<HashMap<String, Session>>,
    seen: Mutex<HashMap<String, Instant>>,
    /// One node at a time gets a pod range.
    pub(crate) registering: tokio::sync::Mutex<()>,
    subscriptions: mpsc::Sender<Subscribe>,
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
            sessions: Mutex::default(),
            seen: Mutex::new(seen),
            registering: tokio::sync::Mutex::default(),
            subscriptions,
            epoch,
        });
        tokio::spawn(dispatch::run(client, receiver));
        tokio::spawn(silence::run(nodes.clone()));
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

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session(&self, node: &str) -> Option<Session> {
        self.sessions().get(node).cloned()
    }

    async fn accept(self: Arc<Self>, mut listener: Listener) {
        let places = Arc::new(Semaphore::new(GREETINGS_MAX));
        while let Some(arrival) = listener.accept().await {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let nodes = self.clone();
            tokio::spawn(async move {
                match arrival {
                    Arrival::Join(attempt) => nodes.join(attempt).await,
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

    async fn join(&self, attempt: JoinAttempt) {
        let (node, address) = (attempt.request.node_name.clone(), attempt.remote_address());
        let answer = match self.admit(&attempt.request) {
            Ok(certificate) => {
                tracing::info!(%node, %address, "node joined");
                let server_time_ms = jiff::Timestamp::now().as_millisecond();
                JoinAnswer::Admitted { certificate, ca: self.pki.ca().to_vec(), server_time_ms }
            }
            Err(message) => {
                tracing::warn!(%node, %address, %message, "a join was refused");
                JoinAnswer::Refused { message }
            }
        };
        if let Err(error) = attempt.answer(&answer).await {
            tracing::debug!(%node, %error, "a join's answer did not arrive");
        }
    }

    fn admit(&self, request: &JoinRequest) -> Result<Vec<u8>, String> {
        if request.protocol != PROTOCOL {
            return Err(format!("agent speaks protocol {}, this server speaks {PROTOCOL}", request.protocol));
        }
        let certificate = self.pki.sign_node(&request.csr, &request.node_name).map_err(|error| error.to_string())?;
        let key = control_wire::trust::key_hash(&certificate).ok_or("the certificate cannot be read")?;
        // The token first: who has none learns nothing of the names in use.
        self.pki.tokens().use_once(&request.cluster, &request.token_id, &request.token_secret, key).map_err(
            |error| match error {
                UseError::Refused(refusal) => refusal.to_string(),
                UseError::Kept(error) => {
                    tracing::error!(%error, "the use of a join token cannot be recorded");
                    "server cannot record the use of the join token".to_owned()
                }
            },
        )?;
        registration::check_key(&self.client, &request.node_name, key)?;
        Ok(certificate)
    }

    async fn greet(&self, arrival: NodeArrival) -> Option<Session> {
        let node = arrival.node_name.clone();
        let registered = registration::register(self, &node, arrival.key_hash, &arrival.hello).await;
        let greeted = match registered {
            Ok(range) => {
                let now = jiff::Timestamp::now().as_millisecond();
                arrival.accept(&self.config.server_version, now, range).await.map(Some)
            }
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

    async fn serve(self: Arc<Self>, session: Session) {
        let node = session.node_name().to_owned();
        tracing::info!(%node, address = %session.remote_address(), "node connected");
        self.hear(&node);
        if let Some(old) = self.sessions().insert(node.clone(), session.clone()) {
            old.close("the node connected again");
        }
        let mut outbox: Option<Arc<Outbox>> = None;
        while let Ok(stream) = session.accept().await {
            match stream {
                NodeStream::Report(source) => {
                    tokio::spawn(report::take(self.clone(), session.clone(), source));
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
                    let epoch = self.epoch;
                    tokio::spawn(async move {
                        if let Err(error) = next.drain(sink, epoch).await {
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
