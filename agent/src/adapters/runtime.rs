use std::path::PathBuf;
use std::time::SystemTime;

use agent_pods::ports::{
    BoxFuture, ContainerSpec, Exec, ExecEnd, Exit, Found, FoundState, PortResult, Propagation, SandboxSpec, Seccomp,
    StartError, User, UserNamespace,
};
use agent_pods::resources::{Limits, QosClass};
use agent_runtime as runtime;
use agent_runtime::{ContainerState, ContainerStatus, Runtime};
use jiff::Timestamp;

use super::{chain, command, told};

pub struct PodRuntime(pub Runtime);

fn start_error(error: runtime::RuntimeError) -> StartError {
    let words = chain(&error);
    match error {
        runtime::RuntimeError::Unenforceable { .. } | runtime::RuntimeError::Seccomp { .. } => {
            StartError::Create(words)
        }
        runtime::RuntimeError::ShimGone { .. } | runtime::RuntimeError::NoSandbox { .. } => {
            StartError::SandboxLost(words)
        }
        // As with containerd, whose containers exist before their process is tried: a command that cannot be run is an
        // error of the start.
        _ => StartError::Start(words),
    }
}

fn time(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub fn exit(from: runtime::Exit) -> Exit {
    Exit {
        code: from.exit_code,
        signal: from.signal,
        oom_killed: from.oom_killed,
        started_at: from.started_at.map(time),
        finished_at: time(from.finished_at),
        message: from.message,
        lost: from.lost,
    }
}

pub fn found(status: ContainerStatus) -> Found {
    let state = match status.state {
        ContainerState::Absent | ContainerState::Created { .. } => FoundState::Idle,
        ContainerState::Running { started_at, .. } => FoundState::Running { since: time(started_at) },
        ContainerState::Exited(end) => FoundState::Exited(exit(end)),
    };
    let runtime::User { uid, gid, additional_gids } = status.spec.user;
    let user = User { uid, gid, additional_gids };
    Found { id: status.spec.id, name: status.spec.name, attempt: status.spec.attempt, user, state }
}

fn resources(limits: Limits) -> runtime::Resources {
    runtime::Resources {
        cpu_shares: limits.cpu_shares,
        cpu_quota_us: limits.cpu_quota_us,
        cpu_period_us: limits.cpu_period_us,
        memory_limit_bytes: limits.memory_bytes,
        pids_limit: None,
    }
}

fn sandbox(spec: SandboxSpec) -> runtime::SandboxSpec {
    runtime::SandboxSpec {
        uid: spec.uid,
        namespace: spec.namespace,
        name: spec.name,
        hostname: spec.hostname,
        host_network: spec.host_network,
        host_pid: spec.host_pid,
        host_ipc: spec.host_ipc,
        share_process_namespace: spec.share_process_namespace,
        user_namespace: spec.user_namespace,
        sysctls: spec.sysctls,
        qos: match spec.qos {
            QosClass::Guaranteed => runtime::QosClass::Guaranteed,
            QosClass::Burstable => runtime::QosClass::Burstable,
            QosClass::BestEffort => runtime::QosClass::BestEffort,
        },
        resources: resources(spec.limits),
        log_dir: spec.log_dir,
    }
}

fn container(spec: ContainerSpec) -> runtime::ContainerSpec {
    let mounts = spec.mounts.into_iter().map(|mount| runtime::Mount {
        host_path: mount.host_path,
        container_path: mount.container_path,
        read_only: mount.read_only,
        recursive_read_only: mount.recursive_read_only,
        propagation: match mount.propagation {
            Propagation::Private => runtime::Propagation::Private,
            Propagation::HostToContainer => runtime::Propagation::HostToContainer,
            Propagation::Bidirectional => runtime::Propagation::Bidirectional,
        },
    });
    let unmasked = spec.unmasked_proc.then(Vec::new);
    runtime::ContainerSpec {
        id: spec.id,
        name: spec.name,
        attempt: spec.attempt,
        rootfs: spec.rootfs,
        args: spec.args,
        env: spec.env,
        cwd: spec.cwd,
        user: runtime::User { uid: spec.user.uid, gid: spec.user.gid, additional_gids: spec.user.additional_gids },
        mounts: mounts.collect(),
        devices: Vec::new(),
        privileged: spec.privileged,
        capabilities_add: spec.capabilities_add,
        capabilities_drop: spec.capabilities_drop,
        read_only_rootfs: spec.read_only_rootfs,
        no_new_privileges: spec.no_new_privileges,
        seccomp: match spec.seccomp {
            Seccomp::RuntimeDefault => runtime::Seccomp::RuntimeDefault,
            Seccomp::Unconfined => runtime::Seccomp::Unconfined,
            Seccomp::Localhost(profile) => runtime::Seccomp::Localhost(profile),
        },
        masked_paths: unmasked.clone(),
        readonly_paths: unmasked,
        tty: spec.tty,
        stdin: spec.stdin,
        resources: resources(spec.limits),
        oom_score_adj: Some(spec.oom_score_adj),
        log_path: spec.log_path,
        termination_message_path: spec.termination_message_path,
        target: spec.target,
    }
}

impl agent_pods::ports::Runtime for PodRuntime {
    fn create_sandbox(&self, spec: SandboxSpec) -> BoxFuture<'_, PortResult<Option<PathBuf>>> {
        Box::pin(async move { Ok(self.0.create_sandbox(sandbox(spec)).await.map_err(told)?.netns_path) })
    }

    fn user_namespace(&self, uid: &str) -> BoxFuture<'_, PortResult<Option<UserNamespace>>> {
        let uid = uid.to_owned();
        Box::pin(async move {
            let found = self.0.user_namespace(&uid).await.map_err(told)?;
            Ok(found.map(|own| UserNamespace { path: own.path, first_id: own.first_id }))
        })
    }

    fn create_container(&self, uid: &str, spec: ContainerSpec) -> BoxFuture<'_, Result<(), StartError>> {
        let uid = uid.to_owned();
        Box::pin(async move {
            let made = self.0.create_container(&uid, container(spec)).await;
            made.map(drop).map_err(start_error)
        })
    }

    fn start_container(&self, uid: &str, id: &str) -> BoxFuture<'_, Result<(), StartError>> {
        let (uid, id) = (uid.to_owned(), id.to_owned());
        Box::pin(async move { self.0.start(&uid, &id).await.map_err(start_error) })
    }

    fn signal(&self, uid: &str, id: &str, signal: i32) -> BoxFuture<'_, PortResult<()>> {
        let (uid, id) = (uid.to_owned(), id.to_owned());
        Box::pin(async move { self.0.signal(&uid, &id, signal).await.map_err(told) })
    }

    fn exec(&self, uid: &str, id: &str, exec: Exec) -> BoxFuture<'_, PortResult<ExecEnd>> {
        let (uid, id) = (uid.to_owned(), id.to_owned());
        Box::pin(async move {
            let spec = runtime::ExecSpec { args: exec.command, ..runtime::ExecSpec::default() };
            let handle = self.0.exec(&uid, &id, spec).await.map_err(told)?;
            command::run(handle, exec.timeout, exec.output_bytes_max).await
        })
    }

    fn remove_container(&self, uid: &str, id: &str) -> BoxFuture<'_, PortResult<()>> {
        let (uid, id) = (uid.to_owned(), id.to_owned());
        Box::pin(async move {
            match self.0.remove_container(&uid, &id).await {
                Err(runtime::RuntimeError::NoSandbox { .. } | runtime::RuntimeError::NoContainer { .. }) => Ok(()),
                result => result.map_err(told),
            }
        })
    }

    fn remove_sandbox(&self, uid: &str) -> BoxFuture<'_, PortResult<()>> {
        let uid = uid.to_owned();
        Box::pin(async move { self.0.remove_sandbox(&uid).await.map_err(told) })
    }
}
