//! What the runtime tells: states, ends and use of resources.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::spec::{ContainerSpec, SandboxSpec};

/// What `create_sandbox` made.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The bind-mounted network namespace; `None` with the host's network.
    pub netns_path: Option<PathBuf>,
    /// Path of the pod's cgroup below each hierarchy's mount.
    pub cgroup: String,
    pub shim_pid: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Its files are there; it has no process, and `create_container` may be called again.
    #[default]
    Absent,
    /// Its process waits for `start`.
    Created {
        pid: u32,
    },
    Running {
        pid: u32,
        started_at: SystemTime,
    },
    Exited(Exit),
}

impl ContainerState {
    /// The state of a container whose shim is gone: nobody saw its end, and it cannot be followed any more.
    pub(crate) fn without_shim(self) -> Self {
        let started_at = match self {
            Self::Running { started_at, .. } => Some(started_at),
            Self::Created { .. } => None,
            other => return other,
        };
        Self::Exited(Exit {
            exit_code: 137,
            signal: None,
            oom_killed: false,
            started_at,
            finished_at: SystemTime::now(),
            message: "the pod's shim was gone before the container's end could be seen".into(),
            lost: true,
        })
    }
}

/// How a container's first process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status, or 128 + the signal.
    pub exit_code: i32,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    pub started_at: Option<SystemTime>,
    pub finished_at: SystemTime,
    /// What the container wrote to its termination message file, at most `MESSAGE_BYTES_MAX`.
    pub message: String,
    /// The shim was gone before it could see the end: `exit_code` is then 137 by convention, and nobody knows better.
    pub lost: bool,
}

/// An event: a container has ended. Told once per run of the agent.
#[derive(Clone, Debug)]
pub struct Exited {
    pub pod_uid: String,
    pub container_id: String,
    pub exit: Exit,
}

#[derive(Clone, Debug)]
pub struct ContainerStatus {
    pub spec: ContainerSpec,
    pub state: ContainerState,
}

#[derive(Clone, Debug)]
pub struct SandboxStatus {
    pub spec: SandboxSpec,
    pub sandbox: Sandbox,
    /// False when the shim is gone (killed, or the machine was restarted): only `remove_sandbox` makes sense then.
    pub alive: bool,
    pub containers: Vec<ContainerStatus>,
}

/// Use of resources, read from cgroup files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub cpu_usage_ns: u64,
    pub memory_usage_bytes: u64,
    /// Usage without inactive file pages: what eviction and `kubectl top` look at.
    pub memory_working_set_bytes: u64,
    pub memory_rss_bytes: u64,
    pub pids: u64,
}
