//! The last steps before a container's program: signals as programs expect them, and seccomp where it is missing.
#![allow(unsafe_code)]

use std::collections::HashMap;

use libcontainer::capabilities::drop_privileges;
use libcontainer::oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp, Spec};
use libcontainer::seccomp::initialize_seccomp;
use libcontainer::syscall::linux::LinuxSyscall;
use libcontainer::workload::default::DefaultExecutor;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::sys::signal::SigSet;

#[derive(Clone)]
pub(super) struct Contained {
    inner: DefaultExecutor,
    seccomp: Option<LinuxSeccomp>,
    capabilities: Option<LinuxCapabilities>,
}

impl Contained {
    /// libcontainer loads the filter and drops the capabilities itself.
    pub fn init() -> Self {
        Self { inner: DefaultExecutor {}, seccomp: None, capabilities: None }
    }

    /// libcontainer's exec leaves the filter out. Loading one needs CAP_SYS_ADMIN, so that capabilities are kept
    /// until here, and dropped after the filter, in the order in which the container's first process had it.
    pub fn tenant(config: &Spec) -> Self {
        Self {
            inner: DefaultExecutor {},
            seccomp: config.linux().as_ref().and_then(|linux| linux.seccomp().clone()),
            capabilities: config.process().as_ref().and_then(|process| process.capabilities().clone()),
        }
    }
}

impl Executor for Contained {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let other = |what: &str, error: String| ExecutorError::Other(format!("{what}: {error}"));
        if let Some(seccomp) = &self.seccomp {
            initialize_seccomp(seccomp).map_err(|error| other("seccomp", error.to_string()))?;
        }
        if let Some(capabilities) = &self.capabilities {
            drop_privileges(capabilities, &LinuxSyscall).map_err(|error| other("capabilities", error.to_string()))?;
        }
        reset_signals();
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
