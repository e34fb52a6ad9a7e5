//! The last steps before a container's program: signals as programs expect them, the seccomp filter, capabilities.
//!
//! libcontainer would compile the filter anew for each container, and its exec leaves it out.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::io;

use libcontainer::capabilities::drop_privileges;
use libcontainer::oci_spec::runtime::{LinuxCapabilities, Spec};
use libcontainer::syscall::linux::LinuxSyscall;
use libcontainer::workload::default::DefaultExecutor;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::sys::signal::SigSet;

use crate::layout::ContainerDir;
use crate::oci;
use crate::oci::seccomp::{self, Program};
use crate::spec::ContainerSpec;

#[derive(Clone)]
pub(super) struct Contained {
    inner: DefaultExecutor,
    seccomp: Option<Program>,
    capabilities: LinuxCapabilities,
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
        Ok(Self { inner: DefaultExecutor {}, seccomp, capabilities: oci::capabilities(spec) })
    }
}

impl Executor for Contained {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let other = |what: &str, error: String| ExecutorError::Other(format!("{what}: {error}"));
        reset_signals();
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
