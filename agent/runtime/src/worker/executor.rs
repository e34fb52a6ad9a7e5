//! The last steps before a container's program: signals as programs expect them, the seccomp filter, capabilities.
//!
//! libcontainer would compile the filter anew for each container, and its exec leaves it out.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use libcontainer::capabilities::{drop_privileges, reset_effective};
use libcontainer::oci_spec::runtime::{LinuxCapabilities, Spec, User};
use libcontainer::syscall::linux::LinuxSyscall;
use libcontainer::workload::default::DefaultExecutor;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Uid};

use crate::layout::ContainerDir;
use crate::oci;
use crate::oci::seccomp::{self, Program};
use crate::spec::ContainerSpec;

/// Into a user namespace.
#[derive(Clone)]
pub(super) struct Entry {
    pub users: Arc<File>,
    /// The host's id of its root.
    pub first_id: u32,
    pub user: User,
}

#[derive(Clone)]
pub(super) struct Contained {
    inner: DefaultExecutor,
    seccomp: Option<Program>,
    capabilities: LinuxCapabilities,
    /// The user namespace that is still to be entered, and who to be in it.
    entering: Option<Entry>,
}

impl Contained {
    /// For a container's first process and for an exec alike. Loading a filter needs CAP_SYS_ADMIN, so that
    /// capabilities are kept until here, and dropped after it.
    pub fn new(dir: &ContainerDir, spec: &ContainerSpec) -> io::Result<Self> {
        let seccomp = if seccomp::is_filtered(spec) {
            let load = Program::load(&dir.seccomp());
            Some(load.map_err(|error| io::Error::new(error.kind(), format!("seccomp program: {error}")))?)
        } else {
            None
        };
        Ok(Self { inner: DefaultExecutor {}, seccomp, capabilities: oci::capabilities(spec), entering: None })
    }

    /// For an exec in a container with a user namespace.
    pub fn entering(self, entry: Entry) -> Self {
        Self { entering: Some(entry), ..self }
    }
}

impl Executor for Contained {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let other = |what: &str, error: String| ExecutorError::Other(format!("{what}: {error}"));
        reset_signals();
        if let Some(entry) = &self.entering {
            enter(entry).map_err(|error| other("user namespace", error))?;
        }
        if let Some(program) = &self.seccomp {
            program.enforce().map_err(|error| other("seccomp", error.to_string()))?;
        }
        drop_privileges(&self.capabilities, &LinuxSyscall).map_err(|error| other("capabilities", error.to_string()))?;
        SigSet::empty().thread_set_mask().map_err(|error| other("signals", error.to_string()))?;
        self.inner.exec(spec)
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        self.inner.validate(spec)
    }

    fn setup_envs(&self, envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        self.inner.setup_envs(envs)
    }
}

/// A terminal was made by the host's root, who is nobody inside: it is given to the one who works on it.
fn enter(Entry { users, first_id, user }: &Entry) -> Result<(), String> {
    if nix::unistd::isatty(io::stdin()).unwrap_or(false) {
        let owner = first_id.checked_add(user.uid()).map(Uid::from_raw);
        nix::unistd::fchown(io::stdin(), owner, None).map_err(|error| error.to_string())?;
    }
    // Between two steps it is of the namespace, and still has the host's root's id: whoever may trace all processes of
    // the namespace must not have this one.
    // SAFETY: prctl with constants changes only this process.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    let users = users.try_clone().map_err(|error| error.to_string())?;
    crate::namespaces::become_root(users).map_err(|error| error.to_string())?;
    become_user(user).map_err(|error| error.to_string())?;
    reset_effective(&LinuxSyscall).map_err(|error| error.to_string())
}

/// Keeps the capabilities, which the last step drops.
fn become_user(user: &User) -> nix::Result<()> {
    let groups: Vec<Gid> = user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    nix::unistd::setgroups(&groups)?;
    nix::unistd::setresgid(gid, gid, gid)?;
    // SAFETY: prctl with constants changes only this process.
    unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) };
    nix::unistd::setresuid(uid, uid, uid)
}

/// Ignored signals are inherited: SIGPIPE from Rust, others from whoever started the agent.
fn reset_signals() {
    const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;
    const SET_BYTES: usize = 8;
    /// As large as the kernel's sigaction on any machine; all zero is the default action.
    const DEFAULT: [u64; 8] = [0; 8];
    for number in SIGNALS {
        // The C library keeps two signals to itself and would refuse them, so the kernel is asked.
        // SAFETY: the kernel reads the action, which lives for good, and is given no place to write to. SIGKILL and
        // SIGSTOP are refused, harmlessly.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, number, DEFAULT.as_ptr(), std::ptr::null_mut::<u64>(), SET_BYTES);
        }
    }
}
