//! What the node has to tell, kept until a server has taken it: the newest status of each pod, ends, and Events.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use control_wire::Report;
use tokio::sync::Notify;

/// Events that wait for a server; the oldest are dropped.
const EVENTS_MAX: usize = 1000;
/// Ends of pods that wait for a server: more than a node has pods. What is not told is asked for again by the server.
const GONE_MAX: usize = 2000;

#[derive(Default)]
struct Waiting {
    mirrors: HashMap<String, Report>,
    statuses: HashMap<String, Report>,
    gone: Vec<Report>,
    volumes: HashMap<String, Report>,
    events: VecDeque<Report>,
    node: Option<Report>,
}

#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when there may be something to take.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    pub fn node_status(&self, json: Vec<u8>) {
        self.waiting().node = Some(Report::NodeStatus { json });
        self.filled.notify_one();
    }

    pub fn volume_gone(&self, name: &str, uid: &str) {
        let report = Report::VolumeGone { name: name.to_owned(), uid: uid.to_owned() };
        self.waiting().volumes.insert(uid.to_owned(), report);
        self.filled.notify_one();
    }

    /// A static pod for the API to show.
    pub fn mirror(&self, uid: &str, json: Vec<u8>) {
        self.waiting().mirrors.insert(uid.to_owned(), Report::Mirror { uid: uid.to_owned(), json });
        self.filled.notify_one();
    }

    /// Everything that waits, ends last, and what the API is to show before what is said of it.
    pub fn take(&self) -> Vec<Report> {
        let mut waiting = self.waiting();
        let mut all: Vec<Report> = waiting.node.take().into_iter().collect();
        all.extend(waiting.mirrors.drain().map(|(_, report)| report));
        all.extend(waiting.events.drain(..));
        all.extend(waiting.statuses.drain().map(|(_, report)| report));
        all.extend(waiting.volumes.drain().map(|(_, report)| report));
        all.append(&mut waiting.gone);
        all
    }

    /// What was taken and did not arrive; something newer of the same pod stays.
    pub fn give_back(&self, reports: Vec<Report>) {
        let mut waiting = self.waiting();
        for report in reports {
            match &report {
                Report::PodStatus { uid, .. } => {
                    waiting.statuses.entry(uid.clone()).or_insert(report);
                }
                Report::Mirror { uid, .. } => {
                    waiting.mirrors.entry(uid.clone()).or_insert(report);
                }
                Report::PodGone { .. } if waiting.gone.len() < GONE_MAX => waiting.gone.push(report),
                Report::VolumeGone { uid, .. } => drop(waiting.volumes.insert(uid.clone(), report)),
                Report::Event { .. } => waiting.events.push_back(report),
                Report::NodeStatus { .. } => {
                    waiting.node.get_or_insert(report);
                }
                Report::PodGone { .. } | Report::Heartbeat { .. } => {}
            }
        }
        let excess = waiting.events.len().saturating_sub(EVENTS_MAX);
        waiting.events.drain(..excess);
    }
}

impl agent_pods::ports::Reporter for Outbox {
    fn pod_status(&self, namespace: &str, name: &str, uid: &str, status: Bytes) {
        let (namespace, name, json) = (namespace.to_owned(), name.to_owned(), status.to_vec());
        let report = Report::PodStatus { namespace, name, uid: uid.to_owned(), json };
        self.waiting().statuses.insert(uid.to_owned(), report);
        self.filled.notify_one();
    }

    fn pod_gone(&self, namespace: &str, name: &str, uid: &str) {
        let report = Report::PodGone { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() };
        let mut waiting = self.waiting();
        if waiting.gone.len() < GONE_MAX {
            waiting.gone.push(report);
        }
        drop(waiting);
        self.filled.notify_one();
    }

    fn event(&self, event: Bytes) {
        let mut waiting = self.waiting();
        if waiting.events.len() == EVENTS_MAX {
            waiting.events.pop_front();
        }
        waiting.events.push_back(Report::Event { json: event.to_vec() });
        drop(waiting);
        self.filled.notify_one();
    }
}
