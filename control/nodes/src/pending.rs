//! Machines that wait for an administrator. They are held in memory, each by the connection it opened: a machine that
//! goes away is forgotten, and a server that starts again is asked again. One that was let in while it was away gets its
//! certificate when it asks again.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control_api::{Reason, Status};
use control_wire::frame::{JoinAnswer, PendingRequest};
use control_wire::{Ask, Petition, fingerprint};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::admission::check_protocol;
use crate::nodes::Nodes;

/// Machines that wait at one time, in all and behind one address.
const WAITING_MAX: usize = 64;
const WAITING_PER_ADDRESS_MAX: usize = 8;
/// New ones within [`RATE_WINDOW`].
const RATE_MAX: usize = 30;
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// After this a machine has to ask again, which it does by itself.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Characters shown of what a machine says about itself.
const WORD_CHARACTERS_MAX: usize = 64;

#[derive(Debug)]
struct Waiting {
    node_name: String,
    address: IpAddr,
    agent_version: String,
    platform: String,
    since: Timestamp,
    csr: Vec<u8>,
    decided: oneshot::Sender<Result<Vec<u8>, String>>,
}

/// By the hash of the key.
#[derive(Debug, Default)]
pub struct Room {
    waiting: Mutex<HashMap<[u8; 32], Waiting>>,
    arrivals: Mutex<VecDeque<Instant>>,
}

impl Room {
    fn waiting(&self) -> MutexGuard<'_, HashMap<[u8; 32], Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more, or why there is none.
    fn enter(&self, key: [u8; 32], waiting: Waiting) -> Result<(), String> {
        let now = Instant::now();
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        while arrivals.front().is_some_and(|at| now.duration_since(*at) > RATE_WINDOW) {
            arrivals.pop_front();
        }
        if arrivals.len() >= RATE_MAX {
            return Err("too many machines asked to be let in within a minute: this one asks again later".to_owned());
        }
        arrivals.push_back(now);
        drop(arrivals);
        let mut all = self.waiting();
        // The same key again is the same machine with a new connection.
        all.remove(&key);
        let behind = all.values().filter(|other| other.address == waiting.address).count();
        if all.len() >= WAITING_MAX || behind >= WAITING_PER_ADDRESS_MAX {
            return Err("too many machines wait to be let in: approve or switch off some, or use a token".to_owned());
        }
        all.insert(key, waiting);
        Ok(())
    }

    pub fn list(&self) -> Value {
        let waiting = self.waiting();
        let mut items: Vec<(&Timestamp, Value)> = waiting
            .iter()
            .map(|(key, one)| {
                let item = json!({
                    "name": one.node_name, "fingerprint": fingerprint(key), "address": one.address.to_string(),
                    "agentVersion": one.agent_version, "platform": one.platform,
                    "since": crate::status::seconds(one.since),
                });
                (&one.since, item)
            })
            .collect();
        items.sort_by_key(|(since, _)| **since);
        json!({"items": items.into_iter().map(|(_, item)| item).collect::<Vec<Value>>()})
    }

    /// Takes out the one machine that waits as `name`, with a key whose fingerprint begins as told.
    fn take(&self, name: &str, told: &str) -> Result<([u8; 32], Waiting), Status> {
        let told: String = told.chars().filter(|digit| *digit != '-').collect::<String>().to_ascii_lowercase();
        let mut all = self.waiting();
        let named: Vec<[u8; 32]> =
            all.iter().filter(|(_, waiting)| waiting.node_name == name).map(|(key, _)| *key).collect();
        let fitting: Vec<&[u8; 32]> =
            named.iter().filter(|key| control_wire::trust::hex(&key[..]).starts_with(&told)).collect();
        let shown = || named.iter().map(fingerprint).collect::<Vec<String>>().join(", ");
        match (named.len(), fitting.as_slice()) {
            (0, _) => {
                let message =
                    format!("no machine named {name} waits to be let in: `bramble node list` shows those that do");
                Err(Status::new(Reason::NotFound, message))
            }
            (_, [key]) => {
                let key = **key;
                let waiting = all.remove(&key).ok_or_else(|| Status::internal("a machine left the room twice"))?;
                Ok((key, waiting))
            }
            (_, []) => Err(Status::new(
                Reason::Conflict,
                format!(
                    "the machine named {name} shows fingerprint {}, not {told}: approve it only if its console shows that one too",
                    shown()
                ),
            )),
            _ => Err(Status::new(
                Reason::Conflict,
                format!("several machines named {name} wait: say which fingerprint ({})", shown()),
            )),
        }
    }

    fn leave(&self, key: &[u8; 32]) {
        let mut all = self.waiting();
        // Its place may be another connection's by now, whose answer is still open.
        if all.get(key).is_some_and(|waiting| waiting.decided.is_closed()) {
            all.remove(key);
        }
    }
}

/// Holds a machine until it is let in, refused, or gone.
pub(crate) async fn hold(nodes: &Nodes, mut petition: Petition) {
    let Ask::Approval(request) = &petition.ask else { return };
    let address = petition.remote_address().ip().to_canonical();
    let node = request.node_name.clone();
    let (decided, decision) = oneshot::channel();
    let entered =
        check_protocol(request.protocol).and_then(|()| nodes.request_key(&request.csr, &node)).and_then(|key| {
            match nodes.has_let_in(&key, &node) {
                // A power cut swallowed the answer, or the certificate; the administrator's word stands.
                true => drop(decided.send(nodes.renew(&request.csr, &node, None))),
                false => nodes.room.enter(key, waiting(request, address, decided))?,
            }
            Ok(key)
        });
    let key = match entered {
        Ok(key) => key,
        Err(message) => {
            tracing::warn!(%node, %address, %message, "a machine that asks to be let in was refused");
            let _ = petition.answer(&JoinAnswer::Refused { message }).await;
            return;
        }
    };
    tracing::info!(%node, %address, fingerprint = fingerprint(&key), "a machine waits to be let in");
    let answer = async {
        petition.wait(Timestamp::now().as_millisecond()).await.ok()?;
        tokio::select! {
            decision = decision => decision.ok(),
            () = petition.gone() => None,
            () = tokio::time::sleep(WAIT_MAX) => None,
        }
    };
    let granted = answer.await;
    nodes.room.leave(&key);
    let Some(granted) = granted else { return };
    if let Err(error) = petition.answer(&nodes.answer(granted)).await {
        tracing::debug!(%node, %error, "an approval did not arrive");
    }
}

fn waiting(request: &PendingRequest, address: IpAddr, decided: oneshot::Sender<Result<Vec<u8>, String>>) -> Waiting {
    let word = |text: &str| text.chars().filter(|one| !one.is_control()).take(WORD_CHARACTERS_MAX).collect();
    Waiting {
        node_name: request.node_name.clone(),
        address,
        agent_version: word(&request.agent_version),
        platform: word(&request.platform),
        since: Timestamp::now(),
        csr: request.csr.clone(),
        decided,
    }
}

/// Lets one in; its key is a node's from here on.
pub(crate) fn approve(nodes: &Nodes, name: &str, told: &str) -> Result<Value, Status> {
    let (key, waiting) = nodes.room.take(name, told)?;
    let granted = nodes.issue(&waiting.csr, name, key);
    let refused = granted.as_ref().err().cloned();
    let heard = waiting.decided.send(granted).is_ok();
    match refused {
        Some(message) => Err(Status::new(Reason::Conflict, message)),
        None if !heard => {
            Err(Status::new(Reason::Conflict, format!("the machine named {name} went away: it asks again by itself")))
        }
        None => {
            tracing::info!(node = name, fingerprint = fingerprint(&key), "a machine was let in");
            Ok(json!({"name": name, "fingerprint": fingerprint(&key)}))
        }
    }
}
