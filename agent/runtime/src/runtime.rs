//! The agent's door to sandboxes and containers.

mod attach;
mod exec;
mod record;
mod sandbox;
mod shim_client;
mod teardown;
mod watch;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

pub use attach::{AttachHandle, AttachSpec};
pub use exec::{ExecHandle, Resizer};
pub(crate) use record::Record;

use crate::cgroup;
use crate::enforce;
use crate::error::RuntimeError;
use crate::layout::{SandboxDir, is_valid_id, load, save};
use crate::oci;
use crate::oci::seccomp::{self, Program as Filter};
use crate::program::Program;
use crate::protocol::{Request, Response};
use crate::spec::{ContainerSpec, ExecSpec, SandboxSpec, Seccomp};
use crate::status::{ContainerState, Exit, Exited, Sandbox, SandboxStatus, Stats};
use crate::users::UserNamespace;
use crate::worker::Stage;

type Result<T> = std::result::Result<T, RuntimeError>;

/// Ends that wait for the agent to take them; more of them hold the followers up, and the shims keep them.
const EVENTS_MAX: usize = 256;

/// Filters kept, of some kilobytes each; a node seldom sees more than three sets of capabilities.
const FILTERS_MAX: usize = 32;

/// Where the runtime keeps its things.
#[derive(Clone, Debug)]
pub struct Config {
    /// State lies in `data_dir/run`.
    pub data_dir: PathBuf,
    /// `bramble-<8 hex of the node's key>`: several agents share a machine, each below its own parent.
    pub cgroup_parent: String,
    /// The binary whose main calls `dispatch`: this one.
    pub executable: PathBuf,
}

impl Config {
    pub fn new(data_dir: impl Into<PathBuf>, cgroup_parent: impl Into<String>) -> Self {
        // Not its path: an upgrade may have put another file there.
        let executable = "/proc/self/exe".into();
        Self { data_dir: data_dir.into(), cgroup_parent: cgroup_parent.into(), executable }
    }
}

/// Cheap to clone; all clones are the same runtime.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: Config,
    events: mpsc::Sender<Exited>,
    events_out: Mutex<Option<mpsc::Receiver<Exited>>>,
    /// Ends by pod and container that were told or listed.
    told: Mutex<HashMap<(String, String), Exit>>,
    /// Pods whose shim is being followed.
    followed: Mutex<HashSet<String>>,
    /// Pods whose sandbox is being taken away: the end of their shim is no loss.
    removing: Mutex<HashSet<String>>,
    /// Locks of pods whose sandbox is being made, emptied or taken away: one at a time.
    doors: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    /// Shims that this process has spawned.
    shims: Mutex<HashMap<String, Child>>,
    ended: Notify,
    /// Held while a pod's ids are chosen and written down.
    choosing: Mutex<()>,
    /// Finished filters by the capabilities that they are for.
    filters: Mutex<HashMap<Vec<String>, Filter>>,
    /// Opened with the first sandbox.
    program: Mutex<Option<Program>>,
}

impl Inner {
    fn dir(&self, uid: &str) -> SandboxDir {
        SandboxDir::new(&self.config.data_dir, uid)
    }

    /// What shims and namespace helpers are executed from.
    fn program(&self) -> std::io::Result<PathBuf> {
        let mut program = lock(&self.program);
        if program.is_none() {
            *program = Some(Program::open(&self.config.executable)?);
        }
        Ok(program.as_ref().map(Program::path).unwrap_or_default())
    }

    fn door(&self, uid: &str) -> Arc<Mutex<()>> {
        let mut doors = lock(&self.doors);
        doors.retain(|_, door| Arc::strong_count(door) > 1);
        doors.entry(uid.to_owned()).or_default().clone()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runtime {
    /// Opens the state below `config.data_dir`. Call `adopt` next.
    pub async fn new(config: Config) -> Result<Self> {
        let run = config.data_dir.join("run");
        std::fs::create_dir_all(&run)
            .map_err(|source| RuntimeError::Io { what: format!("create folder {}", run.display()), source })?;
        let (events, out) = mpsc::channel(EVENTS_MAX);
        let inner = Inner {
            config,
            events,
            events_out: Mutex::new(Some(out)),
            told: Mutex::default(),
            followed: Mutex::default(),
            removing: Mutex::default(),
            doors: Mutex::default(),
            shims: Mutex::default(),
            ended: Notify::new(),
            choosing: Mutex::default(),
            filters: Mutex::default(),
            program: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The stream of ends. The first call gets it; later ones get `None`.
    pub fn events(&self) -> Option<mpsc::Receiver<Exited>> {
        lock(&self.inner.events_out).take()
    }

    /// Finds the sandboxes of an earlier run and follows them again. Ends that are in the answer are not told as events.
    pub async fn adopt(&self) -> Result<Vec<SandboxStatus>> {
        let found = self.list().await?;
        for status in &found {
            for container in &status.containers {
                if let ContainerState::Exited(exit) = &container.state {
                    let key = (status.spec.uid.clone(), container.spec.id.clone());
                    lock(&self.inner.told).insert(key, exit.clone());
                }
            }
            if status.alive {
                self.follow(&status.spec.uid);
            }
        }
        Ok(found)
    }

    /// Every sandbox with its containers and their states.
    pub async fn list(&self) -> Result<Vec<SandboxStatus>> {
        self.blocking("list sandboxes", record::list).await
    }

    /// Makes namespaces, cgroup and shim, or what is missing of them.
    pub async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox> {
        let uid = spec.uid.clone();
        let sandbox = self.blocking("create sandbox", move |inner| sandbox::create(inner, spec)).await?;
        self.follow(&uid);
        Ok(sandbox)
    }

    /// Makes the container's process, which waits for `start`; gives its pid. Only one container of an id can exist.
    pub async fn create_container(&self, uid: &str, spec: ContainerSpec) -> Result<u32> {
        let id = spec.id.clone();
        if !is_valid_id(&id) || spec.args.is_empty() {
            let reason = "its id or its command line is not valid".into();
            return Err(RuntimeError::Container { what: "create", container: id, reason });
        }
        if let Err(why) = enforce::container(&spec) {
            return Err(RuntimeError::Unenforceable { what: format!("container {}", spec.name), why });
        }
        let pod = uid.to_owned();
        self.blocking("write the bundle", move |inner| prepare(inner, &pod, &spec)).await?;
        lock(&self.inner.told).remove(&(uid.to_owned(), id.clone()));
        match self.ask(uid, Request::Create { container: id.clone() }).await? {
            Response::Created { pid } => Ok(pid),
            other => Err(refused("create", &id, other)),
        }
    }

    pub async fn start(&self, uid: &str, container: &str) -> Result<()> {
        self.simple(uid, "start", container, Request::Start { container: container.into() }).await
    }

    /// Sends a signal (its number) to the container's first process. Fine when it has ended already.
    pub async fn signal(&self, uid: &str, container: &str, signal: i32) -> Result<()> {
        let request = Request::Signal { container: container.into(), signal };
        self.simple(uid, "signal", container, request).await
    }

    /// Signal, then SIGKILL after the grace; returns when the container has ended. The end is told as an event too.
    pub async fn stop(&self, uid: &str, container: &str, signal: i32, grace: Duration) -> Result<()> {
        self.follow(uid);
        self.signal(uid, container, signal).await?;
        if tokio::time::timeout(grace, self.ended(uid, container)).await.is_ok() {
            return Ok(());
        }
        self.signal(uid, container, libc::SIGKILL).await?;
        self.ended(uid, container).await;
        Ok(())
    }

    /// Waits until the container's end is known, or the container is gone.
    async fn ended(&self, uid: &str, container: &str) {
        let key = (uid.to_owned(), container.to_owned());
        loop {
            let notified = self.inner.ended.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let exists = self.inner.dir(uid).container(container).spec().exists();
            if !exists || lock(&self.inner.told).contains_key(&key) {
                return;
            }
            notified.await;
        }
    }

    /// Kills what is left of the container and removes its cgroup and state; not its root filesystem and log.
    pub async fn remove_container(&self, uid: &str, container: &str) -> Result<()> {
        let (pod, id) = (uid.to_owned(), container.to_owned());
        let result = self.blocking("remove container", move |inner| teardown::container(inner, &pod, &id)).await;
        lock(&self.inner.told).remove(&(uid.to_owned(), container.to_owned()));
        self.inner.ended.notify_waiters();
        result
    }

    pub async fn exec(&self, uid: &str, container: &str, spec: ExecSpec) -> Result<ExecHandle> {
        let (pod, id) = (uid.to_owned(), container.to_owned());
        let begun = self.blocking("exec", move |inner| exec::begin(inner, &pod, &id, &spec)).await?;
        exec::handle(begun)
    }

    /// The streams of a running container. A stdin can be had where the container's spec has one.
    pub async fn attach(&self, uid: &str, container: &str, spec: AttachSpec) -> Result<AttachHandle> {
        let (pod, id) = (uid.to_owned(), container.to_owned());
        let begun = self.blocking("attach", move |inner| attach::begin(inner, &pod, &id, spec)).await?;
        attach::handle(begun, spec)
    }

    /// Ends a container's open stdin; its process reads the end once nobody is attached to it.
    pub async fn close_stdin(&self, uid: &str, container: &str) -> Result<()> {
        self.simple(uid, "close stdin of", container, Request::CloseStdin { container: container.into() }).await
    }

    /// The path of a pod's network namespace; none where it has the machine's.
    pub async fn network_namespace(&self, uid: &str) -> Result<Option<PathBuf>> {
        let pod = uid.to_owned();
        self.blocking("read a sandbox", move |inner| {
            Ok(record::describe(&inner.dir(&pod), &record::read(inner, &pod)?).netns_path)
        })
        .await
    }

    /// A pod's own user namespace; none where it has the machine's.
    pub async fn user_namespace(&self, uid: &str) -> Result<Option<UserNamespace>> {
        let pod = uid.to_owned();
        self.blocking("read a sandbox", move |inner| {
            let path = inner.dir(&pod).namespace("user");
            Ok(record::read(inner, &pod)?.first_id.map(|first_id| UserNamespace { path, first_id }))
        })
        .await
    }

    pub async fn stats(&self, uid: &str, container: &str) -> Result<Stats> {
        let (pod, id) = (uid.to_owned(), container.to_owned());
        self.blocking("read stats", move |inner| {
            Ok(cgroup::stats::read(&format!("{}/{id}", record::read(inner, &pod)?.cgroup)))
        })
        .await
    }

    pub async fn sandbox_stats(&self, uid: &str) -> Result<Stats> {
        let pod = uid.to_owned();
        self.blocking("read stats", move |inner| Ok(cgroup::stats::read(&record::read(inner, &pod)?.cgroup))).await
    }

    /// Kills all, unmounts, and removes cgroups, namespaces, sockets and state; collects errors and goes on. Idempotent.
    pub async fn remove_sandbox(&self, uid: &str) -> Result<()> {
        let pod = uid.to_owned();
        lock(&self.inner.removing).insert(uid.to_owned());
        let result = self.blocking("remove sandbox", move |inner| teardown::sandbox_of(inner, &pod)).await;
        lock(&self.inner.removing).remove(uid);
        lock(&self.inner.told).retain(|(pod, _), _| pod != uid);
        self.inner.ended.notify_waiters();
        result
    }

    /// `remove_sandbox` for every sandbox found on disk, and the parent cgroups.
    pub async fn remove_all(&self) -> Result<()> {
        self.blocking("remove all sandboxes", teardown::all).await
    }

    async fn simple(&self, uid: &str, what: &'static str, container: &str, request: Request) -> Result<()> {
        match self.ask(uid, request).await? {
            Response::Done => Ok(()),
            other => Err(refused(what, container, other)),
        }
    }

    async fn ask(&self, uid: &str, request: Request) -> Result<Response> {
        let pod = uid.to_owned();
        self.blocking("ask the shim", move |inner| shim_client::ask(inner, &pod, &request)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        let joined = tokio::task::spawn_blocking(move || act(&inner)).await;
        joined.unwrap_or_else(|error| {
            Err(RuntimeError::Io { what: what.to_owned(), source: std::io::Error::other(error) })
        })
    }
}

pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> RuntimeError {
    move |source| RuntimeError::Io { what: what.into(), source }
}

fn refused(what: &'static str, container: &str, response: Response) -> RuntimeError {
    let container = container.to_owned();
    match response {
        Response::NoContainer => RuntimeError::NoContainer { container },
        Response::Failed { reason } => RuntimeError::Container { what, container, reason },
        other => RuntimeError::Container { what, container, reason: format!("unexpected answer {other:?}") },
    }
}

/// Writes the bundle that the shim's worker reads.
fn prepare(inner: &Inner, uid: &str, spec: &ContainerSpec) -> Result<()> {
    let record = record::read(inner, uid)?;
    let sandbox_dir = inner.dir(uid);
    let dir = sandbox_dir.container(&spec.id);
    if record.first_id.is_some() {
        let users = sandbox_dir.namespace("user");
        enforce::in_user_namespace(spec, &users)
            .map_err(|why| RuntimeError::Unenforceable { what: format!("container {}", spec.name), why })?;
    }
    let io = |source| RuntimeError::Io { what: format!("write the bundle of container {}", spec.id), source };
    // What a failed attempt left; a live one is refused by the shim, whose state says so.
    if let Ok(ContainerState::Created { .. } | ContainerState::Running { .. }) = load(&dir.state()) {
        let reason = "it exists already".into();
        return Err(RuntimeError::Container { what: "create", container: spec.id.clone(), reason });
    }
    let _ = std::fs::remove_dir_all(dir.library_root());
    let _ = std::fs::remove_file(dir.state());
    std::fs::create_dir_all(&dir.0).map_err(io)?;
    if !spec.termination_message_path.is_empty() {
        teardown::make_termination_file(&dir.termination()).map_err(io)?;
    }
    let place = oci::Place {
        sandbox: &record.spec,
        sandbox_dir: &sandbox_dir,
        dir: &dir,
        cgroup: &format!("{}/{}", record.cgroup, spec.id),
        unified: cgroup::is_unified(),
        target_pid: target(inner, uid, spec)?,
    };
    if seccomp::is_filtered(spec) {
        filter(inner, spec)?.save(&dir.seccomp()).map_err(io)?;
    }
    save(&dir.spec(), spec).map_err(io)?;
    let mut config = oci::config(spec, &place);
    if let Some(first_id) = record.first_id {
        save(&dir.stage(), &Stage::divert(&mut config, &sandbox_dir, first_id)).map_err(io)?;
    }
    save(&dir.config(), &config).map_err(io)
}

/// The process of the container that this one is to look at.
fn target(inner: &Inner, uid: &str, spec: &ContainerSpec) -> Result<Option<u32>> {
    let Some(name) = &spec.target else { return Ok(None) };
    let containers = record::containers(inner, uid)?;
    let running = containers.iter().find_map(|one| match one.state {
        ContainerState::Running { pid, .. } if one.spec.name == *name => Some(pid),
        _ => None,
    });
    let reason = || format!("its target, container {name}, does not run");
    let failed = || RuntimeError::Container { what: "create", container: spec.id.clone(), reason: reason() };
    running.map(Some).ok_or_else(failed)
}

/// Held while it compiles: of containers that come together, one does it.
fn filter(inner: &Inner, spec: &ContainerSpec) -> Result<Filter> {
    if let Seccomp::Localhost(name) = &spec.seccomp {
        // Read anew each time: it may have been changed.
        let folder = inner.config.data_dir.join("seccomp");
        let path = folder.join(name).display().to_string();
        return Filter::localhost(&folder, name).map_err(|source| RuntimeError::Seccomp { path, source });
    }
    let key = seccomp::key(spec);
    let mut filters = lock(&inner.filters);
    if let Some(program) = filters.get(&key) {
        return Ok(program.clone());
    }
    let program = Filter::runtime_default(&key);
    let program = program.map_err(|source| RuntimeError::Seccomp { path: "runtime/default".to_owned(), source })?;
    if filters.len() >= FILTERS_MAX {
        filters.clear();
    }
    filters.insert(key, program.clone());
    Ok(program)
}
