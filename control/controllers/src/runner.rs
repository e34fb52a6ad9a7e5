//! The one loop of all controllers: a watch a resource, a queue of (controller, key), back-off, execution.
//!
//! The loop sleeps until a watch tells something, a reconcile ends, or the earliest delayed key is due; with nothing
//! delayed it sets no timer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_client::queue::Outcome;
use control_client::{Api, Client, Feed, Index, Key, News, Queue, Reason, Recorder, Resource, User};
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::action::Action;
use crate::config::Config;
use crate::controller::{Change, Controller};
use crate::steps::{Steps, StepsFile};
use crate::world::World;

mod execute;

use execute::Failed;

/// Keys reconciled at once, over all controllers: enough to share one sync of the disk among many writes.
const RUNNING_MAX: usize = 32;
/// The user that controllers write as.
const USER: &str = "system:kube-controller-manager";

/// Runs all controllers until `shutdown` says true; what is being written is finished first.
pub async fn run(api: Arc<Api>, config: Config, shutdown: watch::Receiver<bool>) {
    let mut controllers: Vec<Arc<dyn Controller>> = vec![
        Arc::new(crate::namespace::NamespaceController),
        Arc::new(crate::service_account::ServiceAccountController::new(config.ca_pem)),
        Arc::new(crate::cluster_role::ClusterRoleController),
        Arc::new(crate::deployment::DeploymentController),
        Arc::new(crate::replica_set::ReplicaSetController),
        Arc::new(crate::replica_set::ReplicationController),
        Arc::new(crate::daemon_set::DaemonSetController::default()),
        Arc::new(crate::job::JobController),
        Arc::new(crate::volume::VolumeController),
        Arc::new(crate::volume::class::StorageClassController),
        Arc::new(crate::garbage::GarbageCollector),
        Arc::new(crate::node::NodeController),
        Arc::new(crate::eviction::EvictionController),
        Arc::new(crate::event_ttl::EventTtlController),
        Arc::new(crate::endpoint_slice::EndpointSliceController),
        Arc::new(crate::endpoints::EndpointsController),
        Arc::new(crate::endpoint_slice_mirroring::MirroringController),
        Arc::new(crate::api_endpoints::ApiEndpointsController::new(config.addresses.clone(), config.port)),
    ];
    if let Some(signer) = config.signer {
        controllers.push(Arc::new(crate::certificate::CertificateController::new(signer)));
    }
    if let Some(pool) = config.load_balancers {
        controllers.push(Arc::new(crate::load_balancer::LoadBalancerController::new(pool)));
    }
    let runner = Runner::new(api, controllers).following(config.addresses);
    runner.keeping_steps(config.steps_file).run(shutdown).await;
}

/// By the clock that nobody sets.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
    time.expect("every Linux has this clock")
}

type Job = (usize, Key);

/// Owns the queue; one task a key that is being reconciled.
pub struct Runner {
    client: Client,
    index: Arc<Index>,
    parts: Vec<Part>,
    queue: Queue<Job>,
    /// The server's own addresses; none once nobody can change them any more.
    addresses: Option<watch::Receiver<Vec<IpAddr>>>,
    steps: Arc<Steps>,
    steps_file: Option<StepsFile>,
}

/// A controller and what the runner keeps beside it.
struct Part {
    controller: Arc<dyn Controller>,
    recorder: Arc<Recorder>,
    inputs: HashMap<&'static Resource, crate::controller::Input>,
}

impl Runner {
    pub fn new(api: Arc<Api>, controllers: Vec<Arc<dyn Controller>>) -> Self {
        let client = Client::new(api, User::system(USER));
        let index = Arc::new(Index::new(client.clone(), control_api::resource::all().iter().copied()));
        let parts = controllers.into_iter().map(|controller| Part::new(controller, &client)).collect();
        let queue = Queue::default();
        Self { client, index, parts, queue, addresses: None, steps: Arc::default(), steps_file: None }
    }

    /// Initial keys are looked at again whenever the server's addresses change.
    pub fn following(mut self, addresses: watch::Receiver<Vec<IpAddr>>) -> Self {
        self.addresses = Some(addresses);
        self
    }

    /// Knows of the steps that the clock made before this server's start.
    pub fn keeping_steps(mut self, file: Option<StepsFile>) -> Self {
        self.steps = Arc::new(file.as_ref().map(StepsFile::read).unwrap_or_default());
        self.steps_file = file;
        self
    }

    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut resources: Vec<&'static Resource> =
            self.parts.iter().flat_map(|part| part.inputs.keys().copied()).collect();
        resources.sort();
        resources.dedup();
        let mut feed = Feed::new(&self.client, resources);
        self.begin();
        let mut running: JoinSet<(Job, Outcome)> = JoinSet::new();
        while !*shutdown.borrow() {
            self.start(&mut running);
            let deadline = self.queue.deadline();
            tokio::select! {
                changed = shutdown.changed() => if changed.is_err() { break },
                Some(done) = running.join_next() => self.finish(done),
                Some(news) = feed.next(), if running.len() < RUNNING_MAX => self.take(&news),
                () = changed_addresses(&mut self.addresses) => self.begin(),
                () = until(deadline), if deadline.is_some() => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    fn begin(&mut self) {
        for (number, part) in self.parts.iter().enumerate() {
            for key in part.controller.initial() {
                self.queue.add((number, key));
            }
        }
    }

    fn world(&mut self) -> World {
        let now = Timestamp::now();
        let steady = since_boot();
        if self.steps.is_news(now, steady) {
            Arc::make_mut(&mut self.steps).add(now, steady);
            if let Some(Err(error)) = self.steps_file.as_ref().map(|file| file.write(&self.steps)) {
                tracing::warn!(%error, "cannot keep how the clock was set");
            }
        }
        World::new(self.client.clone(), self.index.clone(), now).after(self.steps.clone())
    }

    fn start(&mut self, running: &mut JoinSet<(Job, Outcome)>) {
        while running.len() < RUNNING_MAX {
            let Some(job) = self.queue.take(Instant::now()) else { return };
            let (client, world) = (self.client.clone(), self.world());
            let part = &self.parts[job.0];
            let (controller, recorder) = (part.controller.clone(), part.recorder.clone());
            running.spawn(async move {
                // A task of its own, so that a panic in one reconcile is that key's failure and nobody else's.
                let key = job.1.clone();
                let attempt =
                    tokio::spawn(async move { reconcile(&*controller, &client, &recorder, &world, &key).await });
                let outcome = attempt.await.unwrap_or(Outcome::Failed);
                (job, outcome)
            });
        }
    }

    fn finish(&mut self, done: Result<(Job, Outcome), tokio::task::JoinError>) {
        let (job, outcome) = done.expect("the outer task neither panics nor is aborted");
        self.queue.finish(job, outcome, Instant::now());
    }

    fn take(&mut self, news: &News) {
        let world = self.world();
        let (resource, changes): (_, Vec<Change<'_>>) = match news {
            News::All(resource, objects) => (*resource, objects.iter().map(|object| Change::present(object)).collect()),
            News::Changed(resource, events) => (*resource, events.iter().map(Change::from).collect()),
        };
        for (number, part) in self.parts.iter().enumerate() {
            let Some(input) = part.inputs.get(resource) else { continue };
            for change in &changes {
                for key in (input.keys)(&world, change) {
                    self.queue.add((number, key));
                }
            }
            if matches!(news, News::All(..)) {
                // Deletions may have been missed, and with them keys that only the deleted object would have named.
                for other in part.inputs.values().filter(|other| other.resource != resource) {
                    for object in world.list(other.resource, None) {
                        for key in (other.keys)(&world, &Change::present(&object)) {
                            self.queue.add((number, key));
                        }
                    }
                }
            }
        }
    }
}

impl Part {
    fn new(controller: Arc<dyn Controller>, client: &Client) -> Self {
        let inputs = controller.inputs().into_iter().map(|input| (input.resource, input)).collect();
        let recorder = Arc::new(Recorder::new(client.clone(), controller.name()));
        Self { controller, recorder, inputs }
    }
}

/// Waits for ever where nobody is left who could change them.
async fn changed_addresses(addresses: &mut Option<watch::Receiver<Vec<IpAddr>>>) {
    if let Some(receiver) = addresses {
        if receiver.changed().await.is_ok() {
            return;
        }
        *addresses = None;
    }
    std::future::pending().await
}

async fn until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}

async fn reconcile(
    controller: &dyn Controller,
    client: &Client,
    recorder: &Recorder,
    world: &World,
    key: &Key,
) -> Outcome {
    let actions = match controller.reconcile(world, key) {
        Ok(actions) => actions,
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(controller = controller.name(), %error, source, "reconcile failed");
            return Outcome::Failed;
        }
    };
    let after = requeue(&actions);
    match execute::execute(client, recorder, controller.outputs(), actions).await {
        Ok(()) => after.map_or(Outcome::Done, Outcome::After),
        Err(Failed { what, status }) => {
            // A conflict only says that the world moved on: the next look decides anew.
            if status.reason != Reason::Conflict {
                let (controller, name) = (controller.name(), &*key.name);
                tracing::warn!(controller, name, what, error = %status, "a write was refused");
            }
            Outcome::Failed
        }
    }
}

fn requeue(actions: &[Action]) -> Option<Duration> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::RequeueAfter(delay) => Some(*delay),
            _ => None,
        })
        .min()
}
