//! The task that owns one pod: takes messages, steps the machine, records, reports, and has effects carried out.

mod allowance;
mod ask;
mod carry;
mod start;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use control_api::view::core::{Pod, PodStatus};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::etc::ClusterDns;
use crate::machine::{EVICTED, Effect, Event, Stage, State, step, step_between};
use crate::ports::{PodFacts, Ports};
use crate::record::Records;
use crate::{event, status};

use allowance::Allowance;

/// Messages that wait for a busy worker; a sender waits when there are more.
const MESSAGES_MAX: usize = 64;
/// A disk without room for a pod's record may have some after this.
const RECORD_AGAIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// What is the same for every pod of the node.
#[derive(Debug, Clone)]
pub struct Settings {
    pub node_name: String,
    /// As the agent found them at its start; [`crate::Fleet::moved`] tells of others.
    pub host_ips: Vec<String>,
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    /// `/var/log/pods`, or a folder of the data dir.
    pub log_root: PathBuf,
    /// `/var/log/containers`, or a folder of the data dir.
    pub link_root: PathBuf,
    pub records: Records,
    pub cluster_dns: ClusterDns,
}

/// To one pod's task.
#[derive(Debug)]
pub enum Message {
    Event(Event),
    /// A newer object of the same uid.
    Pod(Arc<Pod>),
    /// A ConfigMap or Secret that the pod may use has changed.
    Refresh,
    /// Tell the status again, changed or not.
    Report,
    /// The node's addresses are these now.
    Moved(Arc<[String]>),
    /// Dropped when nothing of the pod is left to end.
    Ended(oneshot::Sender<()>),
}

/// What all of a worker's spawned effects need.
#[derive(Clone)]
struct Context {
    ports: Ports,
    settings: Arc<Settings>,
    pod: Arc<Pod>,
    facts: PodFacts,
    uid: String,
    news: mpsc::Sender<Message>,
    turns: Arc<Turns>,
}

/// Writes of a pod's volumes come one after the other, and an older one never covers a newer.
#[derive(Default)]
struct Turns {
    asked: AtomicU64,
    done: tokio::sync::Mutex<u64>,
}

pub struct Worker {
    context: Context,
    state: Option<State>,
    inbox: mpsc::Receiver<Message>,
    reported: Option<PodStatus>,
    wake: Option<Timestamp>,
    /// Probes and hooks at work, by container; they end with it.
    asked: HashMap<String, JoinSet<()>>,
    events: Allowance,
    /// Those who wait for the pod's end.
    waiting: Vec<oneshot::Sender<()>>,
    /// The record on disk is older than the state: there was no room.
    unrecorded: bool,
    /// Both clocks at the last look.
    seen: (Timestamp, Duration),
}

impl Worker {
    pub fn new(
        pod: Arc<Pod>,
        state: State,
        ports: Ports,
        settings: Arc<Settings>,
        host_ips: &[String],
    ) -> (Self, mpsc::Sender<Message>) {
        let (news, inbox) = mpsc::channel(MESSAGES_MAX);
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let facts = PodFacts {
            node_name: settings.node_name.clone(),
            host_ips: host_ips.to_vec(),
            pod_ips: state.pod_ips.clone(),
            cpu_milli: settings.cpu_milli,
            memory_bytes: settings.memory_bytes,
            domain: settings.cluster_dns.domain.clone(),
        };
        let reported = pod.status.clone();
        let seen = (ports.clock.now(), ports.clock.steady());
        let events = Allowance::new(seen.0);
        let context = Context { ports, settings, pod, facts, uid, news: news.clone(), turns: Arc::default() };
        let worker = Self {
            context,
            state: Some(state),
            inbox,
            reported,
            wake: None,
            asked: HashMap::new(),
            events,
            waiting: Vec::new(),
            unrecorded: false,
            seen,
        };
        (worker, news)
    }

    /// Runs until nothing of the pod is left. `first` is the machine's first event.
    pub async fn run(mut self, first: Event) {
        self.step(first);
        while self.state().stage != Stage::Gone {
            let event = tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => self.event_of(message),
                    None => return,
                },
                () = sleep_until(self.wake, self.context.ports.clock.now()) => Some(Event::Tick),
            };
            if let Some(event) = event {
                self.step(event);
            }
            if self.state().stage == Stage::Down {
                self.waiting.clear();
            }
        }
        self.context.forget(self.state()).await;
    }

    fn state(&self) -> &State {
        self.state.as_ref().expect("the state is only away within a step")
    }

    fn event_of(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Event(Event::Exited { container_id, exit }) => {
                let exit = self.context.with_log_tail(self.state(), &container_id, exit);
                Some(Event::Exited { container_id, exit })
            }
            Message::Event(event) => Some(event),
            Message::Pod(pod) => {
                let told = |pod: &Pod| (pod.metadata.labels.clone(), pod.metadata.annotations.clone());
                let says_other = told(&pod) != told(&self.context.pod);
                self.context.pod = pod;
                // Volumes may show them.
                if says_other && matches!(self.state().stage, Stage::Mounting | Stage::Sandboxing | Stage::Up) {
                    self.context.refresh_volumes();
                }
                Some(Event::Changed)
            }
            Message::Refresh => {
                if self.state().stage == Stage::Up {
                    self.context.refresh_volumes();
                }
                Some(Event::Retry)
            }
            Message::Report => {
                self.reported = None;
                self.report();
                None
            }
            Message::Moved(addresses) => {
                self.moved(&addresses);
                None
            }
            Message::Ended(waits) => {
                self.waiting.push(waits);
                None
            }
        }
    }

    /// A pod on the node's network has the node's addresses.
    fn moved(&mut self, addresses: &[String]) {
        self.context.facts.host_ips = addresses.to_vec();
        let host_network = self.context.pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
        if let (true, Some(state)) = (host_network, &mut self.state)
            && !state.pod_ips.is_empty()
        {
            state.pod_ips = addresses.to_vec();
            self.context.facts.pod_ips.clone_from(&state.pod_ips);
            let state = state.clone();
            self.record(&state);
        }
        self.report();
    }

    fn step(&mut self, event: Event) {
        let before = self.state().clone();
        // A probe that says what it said before is told nobody.
        let quiet = matches!(event, Event::Probed { .. } | Event::Tick);
        let now = self.look_at_clocks();
        let state = self.state.take().expect("the state is only away within a step");
        let (state, effects) = step(&self.context.pod, state, event, now);
        self.context.facts.pod_ips.clone_from(&state.pod_ips);
        // On disk before anything is done about it, so that a restart never does it twice.
        let same = state.is_recorded_as(&before);
        if !same || self.unrecorded {
            self.record(&state);
        }
        self.state = Some(state);
        self.wake = self.unrecorded.then(|| record_again(now));
        for effect in effects {
            self.carry(effect, now);
        }
        if !(quiet && same) {
            self.report();
        }
    }

    /// The time. Where the clock was set, the state is as if it had always been so.
    fn look_at_clocks(&mut self) -> Timestamp {
        let clock = &self.context.ports.clock;
        let seen = (clock.now(), clock.steady());
        if let (Some(by), Some(state)) = (step_between(self.seen, seen), &mut self.state) {
            state.shift(by);
        }
        self.seen = seen;
        seen.0
    }

    /// Tried again after a while where it fails.
    fn record(&mut self, state: &State) {
        let saved = match state.stage {
            Stage::Gone => Ok(()),
            _ => self.context.settings.records.save(&self.context.uid, state),
        };
        self.unrecorded = saved.is_err();
        if let Err(error) = saved {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(uid = self.context.uid, %error, cause, "state of a pod is not recorded");
            let again = record_again(self.context.ports.clock.now());
            self.wake = Some(self.wake.map_or(again, |wake| wake.min(again)));
        }
    }

    fn carry(&mut self, effect: Effect, now: Timestamp) {
        match effect {
            Effect::WakeAt(at) => self.wake = Some(self.wake.map_or(at, |wake| wake.min(at))),
            Effect::Note(_) if !self.events.take(now) => {}
            Effect::Note(note) => {
                let bytes = event::render(&self.context.pod, &note, &self.context.settings.node_name, now);
                self.context.ports.reporter.event(bytes);
            }
            // Done at the end of `run`.
            Effect::Forget => {}
            Effect::TearDown => {
                let ids = self.state().container_ids().map(str::to_owned).collect();
                self.asked.clear();
                let evicted = self.state().failure.as_ref().is_some_and(|failure| failure.reason == EVICTED);
                self.context.tear_down(ids, evicted);
            }
            Effect::Probe { container_id, slot, kind } => {
                let asking = self.context.clone().probe(container_id.clone(), self.name(slot), kind);
                self.ask(container_id, asking);
            }
            Effect::Hook { container_id, slot, hook, deadline } => {
                let limit = deadline.map(|at| left(at, now));
                let asking = self.context.clone().hook(container_id.clone(), self.name(slot), hook, limit);
                self.ask(container_id, asking);
            }
            effect => {
                if let Effect::RemoveContainer { container_id } = &effect {
                    self.asked.remove(container_id);
                }
                let name = match &effect {
                    Effect::EnsureImage { slot } | Effect::Start { slot, .. } | Effect::Signal { slot, .. } => {
                        self.name(*slot)
                    }
                    _ => String::new(),
                };
                self.context.carry(effect, name);
            }
        }
    }

    fn name(&self, slot: usize) -> String {
        self.state().slots[slot].name.clone()
    }

    fn ask(&mut self, container_id: String, asking: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.asked.entry(container_id).or_default();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(asking);
    }

    fn report(&mut self) {
        let state = self.state();
        if state.halted || state.stage == Stage::Gone {
            return;
        }
        let context = &self.context;
        let now = context.ports.clock.now();
        let status = status::render(&context.pod, state, &context.facts, self.reported.as_ref(), now);
        if self.reported.as_ref() == Some(&status) {
            return;
        }
        let meta = &context.pod.metadata;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        match serde_json::to_vec(&status) {
            Ok(json) => {
                let (namespace, name) = (text(&meta.namespace), text(&meta.name));
                context.ports.reporter.pod_status(&namespace, &name, &context.uid, Bytes::from(json));
                self.reported = Some(status);
            }
            Err(error) => tracing::error!(uid = context.uid, %error, "status of a pod cannot be serialized"),
        }
    }
}

fn record_again(now: Timestamp) -> Timestamp {
    now.checked_add(RECORD_AGAIN).unwrap_or(Timestamp::MAX)
}

async fn sleep_until(wake: Option<Timestamp>, now: Timestamp) {
    match wake {
        Some(at) => tokio::time::sleep(left(at, now)).await,
        None => std::future::pending().await,
    }
}

fn left(at: Timestamp, now: Timestamp) -> Duration {
    at.duration_since(now).max(jiff::SignedDuration::ZERO).unsigned_abs()
}
