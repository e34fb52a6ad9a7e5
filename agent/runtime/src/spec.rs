//! What a caller asks for: a pod's sandbox, a container in it, a process in a container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The service class that decides under which parent a pod's cgroup lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    #[default]
    BestEffort,
}

/// Limits in the kernel's units. `None` leaves the kernel's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Relative weight as cgroup v1 counts it: 1024 is one core, 2 the least.
    pub cpu_shares: Option<u64>,
    pub cpu_quota_us: Option<i64>,
    pub cpu_period_us: Option<u64>,
    pub memory_limit_bytes: Option<i64>,
    pub pids_limit: Option<i64>,
}

/// A pod's sandbox: its namespaces, its cgroup and the shim that keeps its containers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxSpec {
    /// The pod's uid: names the sandbox in every later call.
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub hostname: String,
    pub host_network: bool,
    pub host_pid: bool,
    pub host_ipc: bool,
    pub share_process_namespace: bool,
    /// Its processes have ids of their own: root inside is nobody on the host.
    pub user_namespace: bool,
    /// Sysctls of the pod's own network, ipc and uts namespaces.
    pub sysctls: BTreeMap<String, String>,
    pub qos: QosClass,
    /// Limits of the pod as a whole; containers have their own below.
    pub resources: Resources,
    /// Made when missing; containers' `log_path` usually lies below it.
    pub log_dir: PathBuf,
}

/// A bind mount from the host into a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    pub read_only: bool,
    /// What is mounted below it is read-only too, which `read_only` alone leaves as it is.
    pub recursive_read_only: bool,
    pub propagation: Propagation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    #[default]
    RuntimeDefault,
    Unconfined,
    /// A profile by its path below `data_dir/seccomp`.
    Localhost(String),
}

/// A device node of the host that a container may use.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    /// Letters of `rwm`.
    pub access: String,
}

/// One container. Its root filesystem is mounted by the caller.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Unique in the node: letters, digits, `-`, `_` and `.`, at most 64 of them.
    pub id: String,
    pub name: String,
    pub attempt: u32,
    /// An already mounted directory, an overlay in the usual case.
    pub rootfs: PathBuf,
    /// The whole command line, entrypoint first.
    pub args: Vec<String>,
    /// `NAME=value` each. A PATH is added when there is none.
    pub env: Vec<String>,
    /// `/` when empty.
    pub cwd: PathBuf,
    pub user: User,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    pub privileged: bool,
    /// With or without the `CAP_` prefix; `ALL` is understood.
    pub capabilities_add: Vec<String>,
    pub capabilities_drop: Vec<String>,
    pub read_only_rootfs: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// The default lists when `None`; `Some(vec![])` for an unmasked /proc.
    pub masked_paths: Option<Vec<String>>,
    pub readonly_paths: Option<Vec<String>>,
    pub tty: bool,
    /// Keeps stdin open for `Runtime::attach`; otherwise /dev/null.
    pub stdin: bool,
    pub resources: Resources,
    /// A negative one is tried, and given up where the machine refuses it.
    pub oom_score_adj: Option<i32>,
    /// The CRI-format log. Made with its folder when missing. Empty for no log.
    pub log_path: PathBuf,
    /// The file in the container that becomes `Exited::message`; none when empty.
    pub termination_message_path: String,
    /// The running container, by its name, whose process namespace it gets instead of one of its own.
    #[serde(default)]
    pub target: Option<String>,
}

/// One more process in a running container. What is `None` is taken from the container's own process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecSpec {
    pub args: Vec<String>,
    /// Added to the container's own, replacing what has the same name.
    pub env: Vec<String>,
    pub cwd: Option<PathBuf>,
    pub user: Option<User>,
    pub tty: bool,
    pub stdin: bool,
}
