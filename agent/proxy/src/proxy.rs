use std::{
    error::Error as StdError,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use agent_nft::{Batch, Notices, Socket};
use control_api::view::{core::Service as ServiceObject, discovery::EndpointSlice};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Notify, watch},
    task::AbortHandle,
};

use crate::{
    config::Config, endpoints::Slice, engine::Engine, error::Error, health::Health, inbox::Inbox, service::Service,
};

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Before the table is built anew, so that we do not race with somebody who insists.
const HEAL_PAUSE: Duration = Duration::from_millis(100);

/// The Services of one node. Cheap to clone; the last one that goes ends the work and leaves the table as it is.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    task: Arc<Task>,
}

struct Shared {
    node_name: String,
    inbox: Mutex<Inbox>,
    changed: Notify,
    /// The newest generation that is in the kernel.
    applied: watch::Sender<Option<u64>>,
}

struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Proxy {
    /// Starts held: what an earlier agent left goes on serving until [`Proxy::release`]. Needs a tokio runtime.
    pub fn start(config: Config) -> Result<Self, Error> {
        let engine = Engine::open(&config)?;
        let notices = Notices::open_in(config.netns.as_deref()).map_err(Error::Netlink)?;
        let watch = watch(notices)?;
        let shared = Arc::new(Shared {
            node_name: config.node_name.clone(),
            inbox: Mutex::new(Inbox::held()),
            changed: Notify::new(),
            applied: watch::Sender::new(None),
        });
        let work = Work { shared: shared.clone(), table: config.table(), health: Health::new(config.netns), watch };
        let task = tokio::spawn(work.run(engine));
        Ok(Self { shared, task: Arc::new(Task(task.abort_handle())) })
    }

    pub fn put_service(&self, object: &ServiceObject) {
        let key = (object.metadata.namespace.clone(), object.metadata.name.clone());
        let key = (key.0.unwrap_or_default(), key.1.unwrap_or_default());
        self.change(|inbox| inbox.set_service(key, Service::read(object)));
    }

    pub fn remove_service(&self, namespace: &str, name: &str) {
        self.change(|inbox| inbox.set_service((namespace.into(), name.into()), None));
    }

    pub fn put_slice(&self, object: &EndpointSlice) {
        let key = (object.metadata.namespace.clone(), object.metadata.name.clone());
        let key = (key.0.unwrap_or_default(), key.1.unwrap_or_default());
        self.change(|inbox| inbox.set_slice(key, Slice::read(object, &self.shared.node_name)));
    }

    pub fn remove_slice(&self, namespace: &str, name: &str) {
        self.change(|inbox| inbox.set_slice((namespace.into(), name.into()), None));
    }

    /// From here until [`Proxy::release`] nothing is applied: for a list that comes in pieces.
    pub fn hold(&self) {
        self.shared.inbox().held = true;
    }

    /// All that there is has been said.
    pub fn release(&self) {
        self.shared.inbox().held = false;
        self.shared.changed.notify_one();
    }

    /// Waits until all that was said before is in the kernel. While held, or while the kernel refuses, it waits on.
    pub async fn settled(&self) {
        let generation = self.shared.inbox().generation;
        let mut applied = self.shared.applied.subscribe();
        // The sender lives as long as self.
        let _ = applied.wait_for(|applied| applied.is_some_and(|applied| applied >= generation)).await;
    }

    /// Ends the work for good and leaves the table as it is: before a [`Proxy::teardown`], which it would heal.
    pub fn stop(&self) {
        self.task.0.abort();
    }

    /// Removes the node's table. Needs no running agent.
    pub fn teardown(config: &Config) -> Result<(), Error> {
        let mut socket = Socket::open_in(config.netns.as_deref()).map_err(Error::Netlink)?;
        for table in [config.stand_in(), config.table()] {
            socket.apply(Batch::remove(&table)).map_err(|source| Error::Table { table, source })?;
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Inbox) -> bool) {
        let mut inbox = self.shared.inbox();
        if change(&mut inbox) && !inbox.held {
            self.shared.changed.notify_one();
        }
    }
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(unsafe_code, reason = "tokio wants a promise about the descriptor")]
fn watch(notices: Notices) -> Result<AsyncFd<Notices>, Error> {
    // SAFETY: `Notices` always answers with the one descriptor that it owns and closes only as it is dropped.
    let watch = unsafe { AsyncFd::register_with_interest(notices, Interest::READABLE) };
    watch.map_err(|error| Error::Watch(error.into()))
}

/// What the task has: it alone changes the kernel.
struct Work {
    shared: Arc<Shared>,
    table: String,
    health: Health,
    watch: AsyncFd<Notices>,
}

impl Work {
    async fn run(mut self, mut engine: Engine) {
        let mut retry = RETRY_MIN;
        loop {
            if self.next().await {
                tracing::warn!("somebody else changed the table {}: it is built anew", self.table);
                engine.whole = true;
                tokio::time::sleep(HEAL_PAUSE).await;
            }
            if self.shared.inbox().held {
                continue;
            }
            let result;
            (engine, result) = match self.step(engine).await {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!(error = &error as &dyn StdError, "Services are no longer kept up to date");
                    return;
                }
            };
            match result {
                Ok(generation) => {
                    retry = RETRY_MIN;
                    self.health.set(&engine.health);
                    self.shared.applied.send_replace(Some(generation));
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn StdError, "Services are not up to date; again in {retry:?}");
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                    self.shared.changed.notify_one();
                }
            }
        }
    }

    /// Waits for a change; whether it was somebody else's, of our table.
    async fn next(&self) -> bool {
        loop {
            tokio::select! {
                () = self.shared.changed.notified() => return false,
                ready = self.watch.readable() => {
                    // The runtime goes away only with this task.
                    let Ok(mut ready) = ready else { return false };
                    let ours = ready.get_inner().about(&self.table);
                    ready.clear_ready();
                    if ours {
                        return true;
                    }
                }
            }
        }
    }

    /// The kernel may take a tenth of a second for a whole table: not on a thread that others wait for.
    async fn step(&self, mut engine: Engine) -> Result<(Engine, Result<u64, Error>), Error> {
        let notices = self.watch.get_ref();
        notices.pause().map_err(Error::Netlink)?;
        let shared = self.shared.clone();
        let work = move || {
            let result = engine.step(&shared.inbox);
            (engine, result)
        };
        let (mut engine, result) = tokio::task::spawn_blocking(work).await.map_err(Error::Task)?;
        notices.resume().map_err(Error::Netlink)?;
        // What happened while we did not listen.
        if result.is_ok() && !engine.is_intact() {
            engine.whole = true;
            self.shared.changed.notify_one();
        }
        Ok((engine, result))
    }
}
