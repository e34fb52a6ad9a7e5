//! Tokens of the node's pods: kept in memory, asked of the server, renewed before their end.
//!
//! ```text
//! mount ── wants ──> Tokens <── takes what is due ── keep (one task a session) ── asks ──> server
//!   ^                                                   │
//!   └────────────── the pod's volumes again ────────────┘
//! ```
//!
//! A token is never on the card: the volume that shows it is a tmpfs. While no server is in reach the old one stays;
//! where there is none yet, the pod starts with an empty file, which is filled when the server is back.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_pods::event;
use agent_pods::machine::Note;
use agent_pods::ports::{Clock, Reporter};
use anyhow::Context;
use control_api::view::core::{Pod, ServiceAccountTokenProjection};
use control_wire::{Link, TokenAnswer, TokenRequest, clock};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::adapters::SystemClock;
use crate::daemon::Node;

/// How long a pod's start waits for its first token; so long after its own start the agent counts on a server.
const FIRST_WAIT: Duration = Duration::from_secs(3);
/// After a refusal or a silence.
const RETRY: Duration = Duration::from_secs(10);
/// No token is kept longer before it is renewed, as the kubelet has it.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Tokens of one node; each pod has one, rarely more.
const TOKENS_MAX: usize = 2000;
/// What the API fills in, and what a token lives at least.
const SECONDS_DEFAULT: i64 = 3600;

struct Held {
    token: Option<String>,
    /// When to ask for it, the first time or again.
    due: Instant,
}

struct Inner {
    held: HashMap<TokenRequest, Held>,
    connected: bool,
    /// Pods that were told of as having an empty file.
    told: HashSet<String>,
}

/// Shared by the volumes and the session.
pub struct Tokens {
    inner: Mutex<Inner>,
    /// For those who wait for a first token, on a thread that may block.
    arrived: Condvar,
    /// For the session's task.
    wanted: Notify,
    started: Instant,
}

impl Default for Tokens {
    fn default() -> Self {
        let inner = Inner { held: HashMap::new(), connected: false, told: HashSet::new() };
        Self { inner: Mutex::new(inner), arrived: Condvar::new(), wanted: Notify::new(), started: Instant::now() }
    }
}

/// The tokens that a pod's volumes show.
fn wants(pod: &Pod) -> impl Iterator<Item = TokenRequest> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources = volumes.filter_map(|volume| volume.projected.as_ref()?.sources.as_ref()).flatten();
    sources.filter_map(|source| source.service_account_token.as_ref()).map(|wanted| request(pod, wanted))
}

fn request(pod: &Pod, wanted: &ServiceAccountTokenProjection) -> TokenRequest {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default();
    TokenRequest {
        namespace: text(&pod.metadata.namespace),
        account,
        pod: text(&pod.metadata.name),
        pod_uid: text(&pod.metadata.uid),
        audience: text(&wanted.audience),
        seconds: wanted.expiration_seconds.unwrap_or(SECONDS_DEFAULT).unsigned_abs(),
    }
}

impl Tokens {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the pod's tokens asked for, and waits a little while for those that were never had. Blocking.
    pub fn prepare(&self, pod: &Pod) {
        let wanted: Vec<TokenRequest> = wants(pod).collect();
        if wanted.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut inner = self.inner();
        let mut added = false;
        for request in &wanted {
            if !inner.held.contains_key(request) && inner.held.len() < TOKENS_MAX {
                inner.held.insert(request.clone(), Held { token: None, due: now });
                added = true;
            }
        }
        if !added {
            return;
        }
        self.wanted.notify_one();
        loop {
            let missing = |request| inner.held.get(request).is_some_and(|held| held.token.is_none());
            if !wanted.iter().any(missing) {
                return;
            }
            let until = if inner.connected { now + FIRST_WAIT } else { self.started + FIRST_WAIT };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            inner = self.arrived.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The token for one projection, if it is there.
    pub fn get(&self, pod: &Pod, wanted: &ServiceAccountTokenProjection) -> Option<String> {
        self.inner().held.get(&request(pod, wanted))?.token.clone()
    }

    /// Whether this is the first time that the pod is found without a token.
    fn is_news(&self, uid: &str) -> bool {
        let mut inner = self.inner();
        if inner.told.len() >= TOKENS_MAX {
            inner.told.clear();
        }
        inner.told.insert(uid.to_owned())
    }

    /// Tells, once a pod, that it goes without its token for now.
    pub fn tell_missing(&self, pod: &Pod, volume: &str, node: &str, reporter: &dyn Reporter) {
        if !self.is_news(pod.metadata.uid.as_deref().unwrap_or_default()) {
            return;
        }
        let message = format!(
            "volume {volume:?} has an empty service account token: no server is in reach; it is filled in later"
        );
        let note = Note { reason: "TokenMissing", message, warning: true, container: None };
        reporter.event(event::render(pod, &note, node, SystemClock.now()));
    }

    /// The pod is gone.
    pub fn forget(&self, uid: &str) {
        let mut inner = self.inner();
        inner.held.retain(|request, _| request.pod_uid != uid);
        inner.told.remove(uid);
    }

    fn connected(&self, connected: bool) {
        self.inner().connected = connected;
        // Whoever waits for a session that has ended waits no longer than it makes sense.
        self.arrived.notify_all();
    }

    /// The running pods' tokens, also those that an earlier agent asked for: all are asked for that are not held.
    fn adopt(&self, pods: &[std::sync::Arc<Pod>]) {
        let now = Instant::now();
        let mut inner = self.inner();
        for request in pods.iter().flat_map(|pod| wants(pod)) {
            if inner.held.len() < TOKENS_MAX {
                inner.held.entry(request).or_insert(Held { token: None, due: now });
            }
        }
        // A refusal of an earlier session says nothing about this one.
        inner.held.values_mut().filter(|held| held.token.is_none()).for_each(|held| held.due = now);
    }

    /// The clock was set, and may be beyond the end of what is held.
    fn renew_all(&self) {
        let now = Instant::now();
        self.inner().held.values_mut().for_each(|held| held.due = now);
    }

    /// What is to be asked for now; else when next.
    fn due(&self) -> Result<TokenRequest, Option<Instant>> {
        let inner = self.inner();
        match inner.held.iter().min_by_key(|(_, held)| held.due) {
            Some((request, held)) if held.due <= Instant::now() => Ok(request.clone()),
            earliest => Err(earliest.map(|(_, held)| held.due)),
        }
    }

    /// Whether the pod still wants it.
    fn take(&self, request: &TokenRequest, answer: Option<(String, u64)>) -> bool {
        let mut inner = self.inner();
        let Some(held) = inner.held.get_mut(request) else { return false };
        match answer {
            Some((token, seconds)) => {
                held.due = Instant::now() + (Duration::from_secs(seconds) * 4 / 5).clamp(RETRY, LIFE_MAX);
                held.token = Some(token);
                inner.told.remove(&request.pod_uid);
            }
            None => held.due = Instant::now() + RETRY,
        }
        drop(inner);
        self.arrived.notify_all();
        true
    }
}

/// Says that the session is over, however it ends.
struct Session<'a>(&'a Tokens);

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.0.connected(false);
    }
}

/// Asks for tokens as they fall due, for as long as the session lasts. One timer, for the earliest.
pub async fn keep(node: &Node, link: &Link) -> anyhow::Result<()> {
    let tokens = &*node.tokens;
    tokens.adopt(&node.fleet.list());
    tokens.connected(true);
    let _session = Session(tokens);
    let mut clock = clock::follow().context("cannot follow this machine's clock")?;
    loop {
        match tokens.due() {
            Ok(request) => ask(node, link, tokens, request).await?,
            Err(Some(due)) => tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = tokens.wanted.notified() => {}
                Ok(()) = clock.changed() => tokens.renew_all(),
            },
            Err(None) => tokens.wanted.notified().await,
        }
    }
}

async fn ask(node: &Node, link: &Link, tokens: &Tokens, request: TokenRequest) -> anyhow::Result<()> {
    let answer = match link.token(request.clone()).await {
        Ok(TokenAnswer::Issued { token, seconds }) => Some((token, seconds)),
        Ok(TokenAnswer::Refused { message }) => {
            tracing::warn!(pod = request.pod, namespace = request.namespace, message, "a token was refused");
            None
        }
        Err(error @ control_wire::StreamError::Lost(_)) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(pod = request.pod, namespace = request.namespace, %error, "a token was not had");
            None
        }
    };
    let issued = answer.is_some();
    // An agent that was killed as the pod ended adopts what nobody will tell it to forget.
    let is_pod = |pod: &std::sync::Arc<Pod>| pod.metadata.uid.as_deref() == Some(request.pod_uid.as_str());
    if !issued && !node.fleet.list().iter().any(is_pod) {
        tokens.forget(&request.pod_uid);
        return Ok(());
    }
    if tokens.take(&request, answer) && issued {
        node.fleet.refresh_pod(&request.pod_uid).await;
    }
    Ok(())
}
