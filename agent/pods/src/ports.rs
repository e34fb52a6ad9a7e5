//! What a pod needs of the rest of the node, as traits: the binary joins them to the other parts.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control_api::view::core::{ConfigMap, Pod, Secret, Service};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::resources::{Limits, QosClass};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A failure of another part, in words for a pod's status and Events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    pub message: String,
}

impl PortError {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

pub type PortResult<T> = Result<T, PortError>;

/// Everything a worker reaches the node by.
#[derive(Clone)]
pub struct Ports {
    pub runtime: Arc<dyn Runtime>,
    pub images: Arc<dyn Images>,
    pub network: Arc<dyn Network>,
    pub volumes: Arc<dyn Volumes>,
    pub objects: Arc<dyn Objects>,
    pub reporter: Arc<dyn Reporter>,
    pub clock: Arc<dyn Clock>,
}

/// A pod's sandbox as asked of the runtime.
#[derive(Debug, Clone, Default)]
pub struct SandboxSpec {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub hostname: String,
    pub host_network: bool,
    pub host_pid: bool,
    pub host_ipc: bool,
    pub share_process_namespace: bool,
    pub user_namespace: bool,
    pub sysctls: BTreeMap<String, String>,
    pub qos: QosClass,
    pub limits: Limits,
    pub log_dir: PathBuf,
}

/// A user namespace of a pod's own: where it is kept, and the host's id of its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNamespace {
    pub path: PathBuf,
    pub first_id: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// A path of the host inside a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    pub read_only: bool,
    /// With whatever is mounted below it.
    pub recursive_read_only: bool,
    pub propagation: Propagation,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seccomp {
    #[default]
    RuntimeDefault,
    Unconfined,
    /// A profile of the node's, by its path below the node's folder of profiles.
    Localhost(String),
}

/// Whose a container's first process is when it starts; the ids are the container's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
}

/// A container as asked of the runtime, its root already mounted.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    pub id: String,
    pub name: String,
    pub attempt: u32,
    pub rootfs: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: PathBuf,
    pub user: User,
    pub mounts: Vec<Mount>,
    pub privileged: bool,
    pub capabilities_add: Vec<String>,
    pub capabilities_drop: Vec<String>,
    pub read_only_rootfs: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    pub unmasked_proc: bool,
    pub tty: bool,
    pub stdin: bool,
    pub limits: Limits,
    pub oom_score_adj: i32,
    pub log_path: PathBuf,
    pub termination_message_path: String,
    /// The container, by its name, whose processes it sees and is seen by.
    pub target: Option<String>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status, or 128 + the signal.
    pub code: i32,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    /// What was written to the termination message file.
    pub message: String,
    /// Nobody saw the end.
    pub lost: bool,
}

/// What the runtime knows of a container after a restart of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    pub name: String,
    pub attempt: u32,
    pub user: User,
    pub state: FoundState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundState {
    /// Made, never started.
    Idle,
    Running {
        since: Timestamp,
    },
    Exited(Exit),
}

/// Which step of a container's start failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// Before the container existed.
    Create(String),
    /// Its command could not be run.
    Start(String),
    /// What keeps the pod's containers is gone: the sandbox is to be made anew before any can start.
    SandboxLost(String),
}

/// A command in a running container, for a probe or a hook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    pub command: Vec<String>,
    /// Counted from the start of its process, which then is killed.
    pub timeout: Option<Duration>,
    /// What is kept of its output; the rest is read and thrown away.
    pub output_bytes_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEnd {
    Exited {
        code: i32,
        /// The beginning of stdout and stderr, as they came.
        output: Vec<u8>,
    },
    TimedOut,
}

pub trait Runtime: Send + Sync {
    /// Gives the network namespace; `None` with the host's network.
    fn create_sandbox(&self, spec: SandboxSpec) -> BoxFuture<'_, PortResult<Option<PathBuf>>>;
    /// The user namespace of a sandbox that was made; none where it has the host's.
    fn user_namespace(&self, uid: &str) -> BoxFuture<'_, PortResult<Option<UserNamespace>>>;
    fn create_container(&self, uid: &str, spec: ContainerSpec) -> BoxFuture<'_, Result<(), StartError>>;
    fn start_container(&self, uid: &str, id: &str) -> BoxFuture<'_, Result<(), StartError>>;
    fn signal(&self, uid: &str, id: &str, signal: i32) -> BoxFuture<'_, PortResult<()>>;
    /// Runs a command in a container to its end. Dropping the future kills it.
    fn exec(&self, uid: &str, id: &str, exec: Exec) -> BoxFuture<'_, PortResult<ExecEnd>>;
    /// Kills what is left and forgets the container; fine when it is gone already.
    fn remove_container(&self, uid: &str, id: &str) -> BoxFuture<'_, PortResult<()>>;
    fn remove_sandbox(&self, uid: &str) -> BoxFuture<'_, PortResult<()>>;
}

/// The part of an image that a container starts from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// For `imageID`: `name@digest`, else the id.
    pub id: String,
    /// The full name the short form stood for.
    pub name: String,
    pub size_bytes: u64,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    pub stop_signal: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullFailure {
    /// `ErrImagePull` or `InvalidImageName`.
    pub reason: String,
    pub message: String,
}

/// Ids of a container's user, looked up in its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserIds {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
    pub home: String,
}

pub trait Images: Send + Sync {
    fn get(&self, name: &str) -> PortResult<Option<Image>>;
    /// `pull_secrets` are contents of dockerconfigjson Secrets.
    fn pull(&self, name: &str, pull_secrets: Vec<Vec<u8>>) -> BoxFuture<'_, Result<Image, PullFailure>>;
    /// Mounts a container's root from the image of this name, with owners as the user namespace has them.
    fn mount(&self, container_id: &str, name: &str, users: Option<UserNamespace>)
    -> BoxFuture<'_, PortResult<PathBuf>>;
    fn unmount(&self, container_id: &str) -> BoxFuture<'_, PortResult<()>>;
    /// `user[:group]` to ids by the root's own files.
    fn resolve_user(&self, rootfs: &std::path::Path, user: &str) -> PortResult<UserIds>;
}

/// A container's port published on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub udp: bool,
    pub host_ip: Option<std::net::Ipv4Addr>,
    pub host_port: u16,
    pub container_port: u16,
}

pub trait Network: Send + Sync {
    /// Connects the pod's network namespace; the same uid keeps its address. The first address is `podIP`.
    fn attach(&self, pod: &Pod, netns: PathBuf, ports: Vec<HostPort>) -> BoxFuture<'_, PortResult<Vec<String>>>;
    fn detach(&self, uid: &str) -> BoxFuture<'_, PortResult<()>>;
}

pub trait Volumes: Send + Sync {
    /// Makes every volume of the pod ready, or brings its contents up to date; idempotent. Blocking.
    fn mount(&self, pod: &Pod, facts: &PodFacts) -> PortResult<()>;
    /// The host's path of a volume, or of `sub_path` in it, for the `index`th mount of a container. Blocking.
    fn resolve(&self, pod: &Pod, container: &str, index: usize, sub_path: &str) -> PortResult<PathBuf>;
    /// Unmounts and removes everything `mount` and `resolve` made. Blocking, idempotent.
    fn unmount(&self, uid: &str) -> PortResult<()>;
}

/// What is only known on the node: for downwardAPI and `fieldRef`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    pub node_name: String,
    pub host_ips: Vec<String>,
    pub pod_ips: Vec<String>,
    /// Allocatable of the node, for limits that are not set.
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    /// The cluster's domain, for the pod's whole name.
    pub domain: String,
}

/// The node's own copy of what pods refer to.
pub trait Objects: Send + Sync {
    fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap>;
    fn secret(&self, namespace: &str, name: &str) -> Option<Secret>;
    /// All Services of a namespace.
    fn services(&self, namespace: &str) -> Vec<Service>;
}

/// Where a pod's news goes; must not block.
pub trait Reporter: Send + Sync {
    fn pod_status(&self, namespace: &str, name: &str, uid: &str, status: Bytes);
    /// Nothing of the pod is left on the node.
    fn pod_gone(&self, namespace: &str, name: &str, uid: &str);
    fn event(&self, event: Bytes);
}

pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
    /// Since some moment in the past, by a clock that nobody sets.
    fn steady(&self) -> Duration;
}
