//! All pods of the node: one worker each, and the messages that reach them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use control_api::view::core::Pod;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::machine::{Event, State};
use crate::ports::{Exit, Found, Ports};
use crate::pressure::Pressure;
use crate::record::RecordError;
use crate::worker::{Message, Settings, Worker};
use crate::{admission, names};

/// Pods that a node takes; the scheduler keeps to the 110 that the Node tells.
const PODS_MAX: usize = 500;

struct Entry {
    pod: Arc<Pod>,
    sender: mpsc::Sender<Message>,
    /// `None` once `halt` waits for it.
    task: Option<JoinHandle<()>>,
}

/// Cheap to clone; all clones are the same fleet.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

struct Shared {
    ports: Ports,
    settings: Arc<Settings>,
    /// The node's addresses as they are now.
    host_ips: Mutex<Arc<[String]>>,
    /// What the node is short of.
    pressure: Mutex<Pressure>,
    /// By uid.
    pods: Mutex<HashMap<String, Entry>>,
    /// Sandboxes of an earlier run that no pod has claimed yet, by uid.
    found: Mutex<HashMap<String, Vec<Found>>>,
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

impl Fleet {
    /// `found`: live sandboxes of an earlier run, with their containers.
    pub fn new(ports: Ports, settings: Settings, found: HashMap<String, Vec<Found>>) -> Self {
        let shared = Shared {
            ports,
            host_ips: Mutex::new(settings.host_ips.as_slice().into()),
            pressure: Mutex::default(),
            settings: Arc::new(settings),
            pods: Mutex::new(HashMap::new()),
            found: Mutex::new(found),
        };
        Self { shared: Arc::new(shared) }
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.shared.pods.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn host_ips(&self) -> Arc<[String]> {
        self.shared.host_ips.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The node's addresses, which may be those that it had.
    pub async fn moved(&self, addresses: Vec<String>) {
        let addresses: Arc<[String]> = addresses.into();
        {
            let mut known = self.shared.host_ips.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *known == addresses {
                return;
            }
            *known = addresses.clone();
        }
        self.send_where(|_| true, || Message::Moved(addresses.clone())).await;
    }

    /// The node is short of this now: new pods are taken accordingly.
    pub fn pressed(&self, pressure: Pressure) {
        *self.shared.pressure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = pressure;
    }

    /// What the first event of a pod is: one that is new to a node without room for it comes to nothing.
    fn first_event(&self, pod: &Pod, is_new: bool, found: Option<Vec<Found>>) -> Event {
        let pressure = *self.shared.pressure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match admission::refusal(pod, pressure) {
            Some(message) if is_new && found.is_none() => {
                tracing::warn!(uid = pod.metadata.uid, message, "a pod is not taken");
                Event::Reject { message }
            }
            _ => Event::Begin { found },
        }
    }

    /// A new pod, or a newer object of a known one. One whose names are none is not taken.
    pub async fn put(&self, pod: Pod) {
        if let Err(error) = names::check(&pod) {
            tracing::error!(uid = pod.metadata.uid, %error, "a pod is not taken");
            return;
        }
        let pod = Arc::new(pod);
        let uid = text(&pod.metadata.uid).to_owned();
        let known = {
            let mut pods = self.pods();
            pods.retain(|_, entry| !entry.is_finished());
            pods.get_mut(&uid).map(|entry| {
                entry.pod = pod.clone();
                entry.sender.clone()
            })
        };
        match known {
            Some(sender) => drop(sender.send(Message::Pod(pod)).await),
            None => {
                // The same name with another uid: the old pod is gone from the API.
                self.remove_others(&pod, &uid).await;
                self.begin(pod, uid);
            }
        }
    }

    fn begin(&self, pod: Arc<Pod>, uid: String) {
        let Shared { ports, settings, .. } = &*self.shared;
        let found = self.shared.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&uid);
        let record = settings.records.load(&uid);
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if record.is_none() && matches!(phase, Some("Succeeded" | "Failed")) {
            // It ran to its end in an earlier life of this node; all that is left is to let it go.
            if pod.metadata.deletion_timestamp.is_some() {
                ports.reporter.pod_gone(text(&pod.metadata.namespace), text(&pod.metadata.name), &uid);
            }
            return;
        }
        let mut pods = self.pods();
        if pods.len() >= PODS_MAX {
            tracing::error!(uid, "a pod is not taken: the node has {PODS_MAX} already");
            return;
        }
        let first = self.first_event(&pod, record.is_none(), found);
        let state = record.unwrap_or_else(|| State::new(&pod, ports.clock.now()));
        let (worker, sender) = Worker::new(pod.clone(), state, ports.clone(), settings.clone(), &self.host_ips());
        let task = Some(tokio::spawn(worker.run(first)));
        pods.insert(uid, Entry { pod, sender, task });
    }

    async fn remove_others(&self, pod: &Pod, uid: &str) {
        let (namespace, name) = (text(&pod.metadata.namespace), text(&pod.metadata.name));
        self.send_where(
            |entry| entry.is(namespace, name) && text(&entry.pod.metadata.uid) != uid,
            || Message::Event(Event::Removed),
        )
        .await;
    }

    /// The object is gone from the API.
    pub async fn remove(&self, namespace: &str, name: &str) {
        self.send_where(|entry| entry.is(namespace, name), || Message::Event(Event::Removed)).await;
    }

    async fn send_where(&self, matches: impl Fn(&Entry) -> bool, message: impl Fn() -> Message) {
        let senders: Vec<_> = self.pods().values().filter(|e| matches(e)).map(|e| e.sender.clone()).collect();
        for sender in senders {
            // A worker that has ended needs no message.
            let _ = sender.send(message()).await;
        }
    }

    /// A container has ended.
    pub async fn exited(&self, uid: &str, container_id: String, exit: Exit) {
        let sender = self.pods().get(uid).map(|entry| entry.sender.clone());
        if let Some(sender) = sender {
            let _ = sender.send(Message::Event(Event::Exited { container_id, exit })).await;
        }
    }

    /// A ConfigMap or Secret of this namespace has changed: volumes follow, and what waited for it goes on.
    pub async fn refresh(&self, namespace: &str) {
        self.send_where(|entry| text(&entry.pod.metadata.namespace) == namespace, || Message::Refresh).await;
    }

    /// What one pod's volumes show has changed.
    pub async fn refresh_pod(&self, uid: &str) {
        self.send_where(|entry| text(&entry.pod.metadata.uid) == uid, || Message::Refresh).await;
    }

    /// The pod takes what the node needs (then it is `disrupted`), or more than it may. Its end is told like any other.
    /// Returns when nothing of it is left to end.
    pub async fn evict(&self, uid: &str, message: &str, disrupted: bool) {
        let Some(sender) = self.pods().get(uid).map(|entry| entry.sender.clone()) else { return };
        let (waits, ended) = oneshot::channel();
        // A worker that has ended needs no message.
        let event = Event::Evict { message: message.to_owned(), disrupted };
        let _ = sender.send(Message::Event(event)).await;
        let _ = sender.send(Message::Ended(waits)).await;
        // Nothing is ever sent.
        let _ = ended.await;
    }

    /// Images have come: pods that wait for one try at once.
    pub async fn retry(&self) {
        self.send_where(|_| true, || Message::Event(Event::Retry)).await;
    }

    /// Tells every status again, after a reconnect.
    pub async fn report(&self) {
        self.send_where(|_| true, || Message::Report).await;
    }

    /// Pods of which something was found, and that are no longer wanted once the desired state is whole.
    pub fn take_strays(&self) -> Vec<String> {
        // Before the workers are looked at: each is known before it has anything on disk.
        let mut strays = self.shared.settings.records.uids();
        let mut found = self.shared.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        strays.extend(found.drain().map(|(uid, _)| uid));
        let pods = self.pods();
        strays.into_iter().filter(|uid| !pods.contains_key(uid)).collect()
    }

    /// Removes what is on record of a pod without a worker.
    pub fn forget(&self, uid: &str) -> Result<(), RecordError> {
        self.shared.settings.records.remove(uid)
    }

    /// The pods that have a worker.
    pub fn list(&self) -> Vec<Arc<Pod>> {
        self.pods().values().filter(|entry| !entry.is_finished()).map(|entry| entry.pod.clone()).collect()
    }

    /// What the machine of a pod has recorded last.
    pub fn state(&self, uid: &str) -> Option<State> {
        self.shared.settings.records.load(uid)
    }

    /// Ends all pods with their grace; returns when nothing of them is left.
    pub async fn halt(&self) {
        self.send_where(|_| true, || Message::Event(Event::Halt)).await;
        // The entries stay: ends of containers still find their pods by them.
        let tasks: Vec<JoinHandle<()>> = self.pods().values_mut().filter_map(|entry| entry.task.take()).collect();
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a pod's worker did not end well");
            }
        }
    }
}

impl Entry {
    fn is_finished(&self) -> bool {
        self.task.as_ref().is_some_and(JoinHandle::is_finished)
    }

    fn is(&self, namespace: &str, name: &str) -> bool {
        text(&self.pod.metadata.namespace) == namespace && text(&self.pod.metadata.name) == name
    }
}
