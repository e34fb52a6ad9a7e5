//! The task that owns one pod: takes messages, steps the machine, records, reports, and has effects carried out.

mod carry;
mod start;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::mpsc;

use crate::machine::{Effect, Event, Stage, State, step};
use crate::ports::{PodFacts, Ports};
use crate::record::Records;
use crate::{event, status};

/// Messages that wait for a busy worker; a sender waits when there are more.
const MESSAGES_MAX: usize = 64;

/// What is the same for every pod of the node.
#[derive(Debug, Clone)]
pub struct Settings {
    pub node_name: String,
    pub host_ips: Vec<String>,
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    /// `/var/log/pods`, or a folder of the data dir.
    pub log_root: PathBuf,
    /// `/var/log/containers`, or a folder of the data dir.
    pub link_root: PathBuf,
    pub records: Records,
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
}

pub struct Worker {
    context: Context,
    state: Option<State>,
    inbox: mpsc::Receiver<Message>,
    reported: Option<PodStatus>,
    wake: Option<Timestamp>,
}

impl Worker {
    pub fn new(pod: Arc<Pod>, state: State, ports: Ports, settings: Arc<Settings>) -> (Self, mpsc::Sender<Message>) {
        let (news, inbox) = mpsc::channel(MESSAGES_MAX);
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let facts = PodFacts {
            node_name: settings.node_name.clone(),
            host_ips: settings.host_ips.clone(),
            pod_ips: state.pod_ips.clone(),
            cpu_milli: settings.cpu_milli,
            memory_bytes: settings.memory_bytes,
        };
        let reported = pod.status.clone();
        let context = Context { ports, settings, pod, facts, uid, news: news.clone() };
        (Self { context, state: Some(state), inbox, reported, wake: None }, news)
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
                self.context.pod = pod;
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
        }
    }

    fn step(&mut self, event: Event) {
        let before = self.state().clone();
        let now = self.context.ports.clock.now();
        let state = self.state.take().expect("the state is only away within a step");
        let (state, effects) = step(&self.context.pod, state, event, now);
        self.context.facts.pod_ips.clone_from(&state.pod_ips);
        // On disk before anything is done about it, so that a restart never does it twice.
        if state != before
            && state.stage != Stage::Gone
            && let Err(error) = self.context.settings.records.save(&self.context.uid, &state)
        {
            tracing::warn!(uid = self.context.uid, error = %error, "state of a pod is not recorded");
        }
        self.state = Some(state);
        self.wake = None;
        for effect in effects {
            self.carry(effect, now);
        }
        self.report();
    }

    fn carry(&mut self, effect: Effect, now: Timestamp) {
        match effect {
            Effect::WakeAt(at) => self.wake = Some(at),
            Effect::Note(note) => {
                let bytes = event::render(&self.context.pod, &note, &self.context.settings.node_name, now);
                self.context.ports.reporter.event(bytes);
            }
            // Done at the end of `run`.
            Effect::Forget => {}
            Effect::TearDown => {
                let ids = self.state().slots.iter().filter_map(|slot| slot.container_id.clone()).collect();
                self.context.tear_down(ids);
            }
            effect => {
                let name = match &effect {
                    Effect::EnsureImage { slot } | Effect::Start { slot, .. } | Effect::Signal { slot, .. } => {
                        self.state().slots[*slot].name.clone()
                    }
                    _ => String::new(),
                };
                self.context.carry(effect, name);
            }
        }
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

async fn sleep_until(wake: Option<Timestamp>, now: Timestamp) {
    match wake {
        Some(at) => {
            let left = at.duration_since(now).max(jiff::SignedDuration::ZERO).unsigned_abs();
            tokio::time::sleep(left).await;
        }
        None => std::future::pending().await,
    }
}
